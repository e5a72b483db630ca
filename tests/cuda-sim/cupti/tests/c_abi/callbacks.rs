//! The callback API: one subscriber, entry and exit of calls, resources.

use crate::mock::{
    announce, enter_api, exit_api, finalize_at_exit, session, subscribe_to_finalize, wanted_bits,
};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null_mut;
use cuda_sim_abi::{domain, resource, wanted};
use cuda_sim_cupti::Subscriber;
use cuda_sim_cupti::entry::callback::{
    SubscriberParams, cuptiEnableAllDomains, cuptiEnableCallback, cuptiEnableDomain, cuptiGetCallbackState,
    cuptiSubscribe, cuptiSubscribe_v2, cuptiUnsubscribe,
};
use cuda_sim_cupti::entry::query::{cuptiGetContextId, cuptiGetGraphExecId, cuptiGetStreamId};
use cuda_sim_cupti::status::Status;
use std::sync::Mutex;
use std::time::Duration;

/// `CUpti_CallbackData`
#[repr(C)]
struct CallbackData {
    site: u32,
    function_name: *const c_char,
    params: *const c_void,
    return_value: *const i32,
    symbol: *const c_char,
    context: *const c_void,
    context_id: u32,
    correlation_data: *mut u64,
    correlation_id: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    domain: u32,
    cbid: u32,
    site: u32,
    name: String,
    status: Option<i32>,
    shared: u64,
    correlation_id: u32,
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

unsafe extern "C" fn callback(userdata: *mut c_void, call_domain: u32, cbid: u32, data: *const c_void) {
    assert_eq!(userdata.addr(), 0x77, "passed through");
    if call_domain == 3 {
        let seen = Seen {
            domain: 3,
            cbid,
            site: 0,
            name: String::new(),
            status: None,
            shared: 0,
            correlation_id: 0,
        };
        SEEN.lock().unwrap().push(seen);
        return;
    }
    // SAFETY: API domains pass CUpti_CallbackData, valid during the call.
    let seen = unsafe {
        let data = data.cast::<CallbackData>().as_ref().unwrap();
        if data.site == 0 {
            *data.correlation_data = 1000 + u64::from(data.correlation_id);
        }
        Seen {
            domain: call_domain,
            cbid,
            site: data.site,
            name: CStr::from_ptr(data.function_name).to_str().unwrap().to_owned(),
            status: data.return_value.as_ref().copied(),
            shared: *data.correlation_data,
            correlation_id: data.correlation_id,
        }
    };
    SEEN.lock().unwrap().push(seen);
}

fn subscribe() -> (Status, *mut Subscriber) {
    SEEN.lock().unwrap().clear();
    let mut handle = null_mut();
    let userdata = core::ptr::without_provenance_mut(0x77);
    // SAFETY: `handle` is valid for a write, and the callback as long as the process.
    let status = unsafe { cuptiSubscribe(&raw mut handle, Some(callback), userdata) };
    (status, handle)
}

fn seen() -> Vec<Seen> {
    std::mem::take(&mut *SEEN.lock().unwrap())
}

#[test]
fn subscriber_hears_entry_and_exit_of_enabled_callbacks_with_shared_data() {
    let _turn = session("");
    let (status, handle) = subscribe();
    assert_eq!(status, Status::SUCCESS);
    assert_eq!(wanted_bits(), 0, "nothing enabled yet");
    assert_eq!(cuptiEnableCallback(1, handle, domain::RUNTIME, 211), Status::SUCCESS);
    assert_eq!(wanted_bits() & wanted::CALLBACKS, wanted::CALLBACKS);
    enter_api(domain::RUNTIME, 211, 8);
    enter_api(domain::DRIVER, 307, 8);
    exit_api(domain::DRIVER, 307, 8, 0);
    exit_api(domain::RUNTIME, 211, 8, 2);
    let one = |site, status| Seen {
        domain: domain::RUNTIME,
        cbid: 211,
        site,
        name: "cudaLaunchKernel_v7000".into(),
        status,
        shared: 1008,
        correlation_id: 8,
    };
    assert_eq!(seen(), [one(0, None), one(1, Some(2))]);
    let mut on = 9;
    // SAFETY: `on` is valid for a write.
    assert_eq!(unsafe { cuptiGetCallbackState(&raw mut on, handle, 2, 211) }, Status::SUCCESS);
    assert_eq!(on, 1);
    assert_eq!(cuptiUnsubscribe(handle), Status::SUCCESS);
    assert_eq!(wanted_bits(), 0);
    enter_api(domain::RUNTIME, 211, 9);
    assert_eq!(seen(), []);
}

#[test]
fn domains_and_wrong_arguments() {
    let _turn = session("");
    let (_, handle) = subscribe();
    assert_eq!(cuptiEnableDomain(1, handle, domain::DRIVER), Status::SUCCESS);
    enter_api(domain::DRIVER, 243, 1);
    assert_eq!(seen().len(), 1);
    assert_eq!(cuptiEnableDomain(0, handle, domain::DRIVER), Status::SUCCESS);
    enter_api(domain::DRIVER, 243, 1);
    assert_eq!(seen(), []);
    assert_eq!(cuptiEnableAllDomains(1, handle), Status::SUCCESS);
    enter_api(domain::RUNTIME, 3, 1);
    assert_eq!(seen().len(), 1);
    for (call_domain, cbid) in [(0, 1), (7, 1), (1, 877), (2, 567), (3, 26)] {
        assert_eq!(cuptiEnableCallback(1, handle, call_domain, cbid), Status::INVALID_PARAMETER);
    }
    assert_eq!(cuptiEnableDomain(1, handle, 9), Status::INVALID_PARAMETER);
    assert_eq!(cuptiEnableDomain(1, null_mut(), 1), Status::INVALID_PARAMETER);
    assert_eq!(cuptiUnsubscribe(null_mut()), Status::INVALID_PARAMETER);
}

#[test]
fn a_second_subscriber_is_refused_until_the_first_leaves() {
    let _turn = session("");
    let (_, first) = subscribe();
    assert_eq!(subscribe().0, Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
    assert_eq!(cuptiUnsubscribe(first), Status::SUCCESS);
    assert_eq!(cuptiUnsubscribe(first), Status::INVALID_PARAMETER, "the handle is dead");
    let (status, second) = subscribe();
    assert_eq!(status, Status::SUCCESS);
    assert_eq!(cuptiUnsubscribe(second), Status::SUCCESS);
    subscribe_to_finalize();
    assert_eq!(finalize_at_exit(), Status::SUCCESS);
    assert_eq!(wanted_bits(), 0, "the subscription went with it");
    assert_eq!(subscribe().0, Status::SUCCESS);
}

#[test]
fn subscribe_v2_tells_who_was_first() {
    let _turn = session("cupti_gen=10");
    let mut name = [0x7F_u8; 64];
    let mut params = SubscriberParams {
        struct_size: size_of::<SubscriberParams>(),
        subscriber_name: c"gpu-agent".as_ptr(),
        old_subscriber_name: name.as_mut_ptr().cast(),
        old_subscriber_size: name.len(),
        allow_multiple_subscribers: 0,
        padding: [0; 7],
    };
    let subscribe = |params: *mut SubscriberParams| {
        let mut handle = null_mut();
        // SAFETY: `params` describes `name`; `handle` is valid for a write.
        unsafe { cuptiSubscribe_v2(&raw mut handle, None, null_mut(), params) }
    };
    assert_eq!(subscribe(&raw mut params), Status::SUCCESS);
    assert_eq!(subscribe(&raw mut params), Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
    assert_eq!(CStr::from_bytes_until_nul(&name), Ok(c"CUPTI for gpu-agent"));
    params.struct_size = 0;
    assert_eq!(subscribe(&raw mut params), Status::INVALID_PARAMETER);
}

#[test]
fn another_tool_holds_cupti_for_ever_or_for_a_while() {
    let turn = session("subscriber=busy");
    for _ in 0..3 {
        assert_eq!(subscribe().0, Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
    }
    drop(turn);
    let _turn = session("subscriber=busy:100");
    assert_eq!(subscribe().0, Status::MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(subscribe().0, Status::SUCCESS);
}

#[test]
fn resources_are_announced_and_their_handles_get_ids() {
    let _turn = session("");
    let (_, handle) = subscribe();
    assert_eq!(cuptiEnableDomain(1, handle, 3), Status::SUCCESS);
    announce(resource::CONTEXT_CREATED, 7, 0x100, 0);
    announce(resource::STREAM_CREATED, 13, 0x100, 0x200);
    announce(resource::GRAPH_INSTANTIATED, 1, 0x100, 0x300);
    assert_eq!(seen().iter().map(|seen| seen.cbid).collect::<Vec<_>>(), [1, 3, 18]);
    let at = core::ptr::without_provenance_mut::<c_void>;
    let mut id = 0;
    // SAFETY: `id` is valid for a write; handles are only compared.
    unsafe {
        assert_eq!(cuptiGetContextId(at(0x100), &raw mut id), Status::SUCCESS);
        assert_eq!(id, 1);
        assert_eq!(cuptiGetStreamId(at(0x100), at(0x200), &raw mut id), Status::SUCCESS);
        assert_eq!(id, 13);
        assert_eq!(cuptiGetStreamId(at(0x100), null_mut(), &raw mut id), Status::SUCCESS);
        assert_eq!(id, 7);
        assert_eq!(cuptiGetGraphExecId(at(0x300), &raw mut id), Status::SUCCESS);
        assert_eq!(id, 1);
        assert_eq!(cuptiGetGraphExecId(at(0x999), &raw mut id), Status::INVALID_PARAMETER);
        assert_eq!(cuptiGetStreamId(null_mut(), at(0x999), &raw mut id), Status::INVALID_STREAM);
        announce(resource::CONTEXT_DESTROYED, 7, 0x100, 0);
        assert_eq!(cuptiGetContextId(at(0x100), &raw mut id), Status::INVALID_CONTEXT);
    }
}
