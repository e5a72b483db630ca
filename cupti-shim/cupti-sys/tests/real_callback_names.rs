//! The numbers and names of callback ids, against the names that NVIDIA's own libraries give those numbers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure has to fail the test")]

use std::process::Command;

use cupti_sys::{ApiVersion, CallbackDomain, DriverCbid, RuntimeCbid};

#[path = "shared/callable.rs"]
mod callable;
#[path = "shared/libraries.rs"]
mod libraries;
#[path = "shared/versions.rs"]
mod versions;
use versions::API_VERSIONS;

/// First version that can be asked for single functions; `is_known_to` promises nothing about older ones.
const FILTERS_SINCE: ApiVersion = ApiVersion::V12_5;

#[test]
fn every_library_names_an_id_as_we_do_where_its_version_knows_it() {
    for library in callable::libraries() {
        let (_, version) = API_VERSIONS.iter().find(|(release, _)| *release == library.release).unwrap();
        let version = ApiVersion(*version);
        let output = Command::new(callable::program("callback-names")).arg(&library.path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut compared = 0;
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let [domain, cbid, theirs] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let cbid = cbid.parse().unwrap();
            let (ours, known) = match CallbackDomain(domain.parse().unwrap()) {
                CallbackDomain::DRIVER_API => {
                    (DriverCbid(cbid).name(), DriverCbid(cbid).is_known_to(version))
                }
                CallbackDomain::RUNTIME_API => {
                    (RuntimeCbid(cbid).name(), RuntimeCbid(cbid).is_known_to(version))
                }
                other => panic!("{other:?}"),
            };
            if known && (theirs != "-" || version >= FILTERS_SINCE) {
                assert_eq!(Some(theirs), ours, "id {cbid} of domain {domain} in CUPTI {}", library.release);
                compared += 1;
            }
        }
        assert!(compared > 200, "CUPTI {} gave only {compared} names", library.release);
    }
}
