# shellcheck shell=bash
# Sourced by the scripts beside it.

# Installs tools on this machine, as root or with sudo.
install_tools() {
    local sudo=()
    dpkg -s "$@" &>/dev/null && return
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    # Fails if any index is missing, also one that nothing here needs.
    "${sudo[@]}" apt-get -qq update || true
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --no-install-recommends "$@" >/dev/null
}

# Prints the mirrors of this machine's own apt, so that no script has to name one.
apt_sites() {
    apt-get indextargets --no-release-info --format "\$(SITE)" 'Created-By: Packages' | sort -u
}

# Makes the current shell's apt read one suite, with lists and downloads in a
# folder of their own. Takes only the mirrors and the network settings from the
# machine's apt; a foreign architecture's index may be missing. Writes its
# configuration to the file $3.
use_private_apt() {
    local suite=$1 dir=$2 conf=$3 site sites
    sites=$(apt_sites)
    mkdir -p "$dir"/{state,cache}
    { apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets'; cat; } >"$conf" <<CONF
Acquire::Languages "none";
Acquire::Retries "1";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Dir::Cache "$dir/cache";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$dir/state";
Dir::State::status "/dev/null";
CONF
    export APT_CONFIG=$conf
    # Security suites are often on a site of their own.
    for site in $sites; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" \
            >"$dir/sources.list"
        apt-get update && return
    done
    return 1
}

# Copies the package to a folder, without the packages under benches/, whose many
# dependencies take long to compile. With "library" as $2 without all that only tests and
# examples need, too. The copies are always newer than what an earlier run built,
# so cargo never takes another checkout's build for this one's.
copy_package() {
    local dir=$1 left_out='^\\[workspace'
    rm -rf "$dir" && mkdir -p "$dir"
    cp -r src docs README.md "$dir"
    if [ "${2:-}" = library ]; then
        left_out='^\\[workspace|^\\[dev-dependencies|^\\[\\['
    else
        cp -r .cargo tests examples "$dir"
    fi
    awk -v left_out="$left_out" '
        $0 ~ left_out { skip = 1 }
        !skip
        /^$/ { skip = 0 }
        END { print "\n[workspace]" } # The copy is no member of ours.
        ' Cargo.toml >"$dir/Cargo.toml"
}
