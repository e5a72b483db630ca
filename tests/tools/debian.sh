# shellcheck shell=bash
# To be sourced. In: an empty folder, names of Debian's suites.
# Out: FOLDER/apt.conf, with which (as $APT_CONFIG) apt knows those suites and nothing else, from the mirror that this machine
# uses, and keeps all it has in that folder. Refuses to touch the system's own packages. Status 75, after saying why, where
# the suites cannot be read.
debian_suites() { # FOLDER SUITE...
    local folder=$1 mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    shift
    # shellcheck disable=SC2016 # apt's own placeholder
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 -E '/debian/?$') || {
        echo "none of this machine's apt sources is a mirror of Debian" >&2
        return 75
    }
    [[ -e $keys ]] || {
        echo "$keys is missing; to install it: apt-get install debian-archive-keyring" >&2
        return 75
    }
    mkdir -p "$folder"/{lists,archives}/partial
    printf "deb [arch=amd64 signed-by=$keys] $mirror %s main\n" "$@" >"$folder/sources"
    cat >"$folder/apt.conf" <<-APT
	Dir::Etc::Parts "/dev/null";
	Dir::Etc::SourceList "$folder/sources";
	Dir::Etc::SourceParts "/dev/null";
	Dir::State::Lists "$folder/lists";
	Dir::State::status "/dev/null";
	Dir::Cache "$folder";
	Acquire::Languages "none";
	Acquire::Retries "2";
	APT::Sandbox::User "root";
	APT
    APT_CONFIG=$folder/apt.conf apt-get update -qq >&2 || {
        echo "apt cannot read the suites $*; is there a network?" >&2
        return 75
    }
}
