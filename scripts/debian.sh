# Sourced by the other scripts: finds Python, and installs Debian packages that are missing.

# Print the first Python of at least 3.11, or say what to do.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3.11}" python3 python3.12 python3.13 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer was not found; install it, or set PYTHON to it" >&2
    return 1
}

# install_packages PURPOSE NAME...: install those that dpkg does not know as installed.
install_packages() {
    local purpose=$1 name missing=() as_root=()
    shift
    if ! command -v apt-get >/dev/null; then
        echo "No apt-get here. $purpose needs what Debian calls: $*" >&2
        return
    fi
    for name in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    if [[ $(id -u) -ne 0 ]]; then
        if ! command -v sudo >/dev/null; then
            echo "$purpose needs Debian packages, and there is no sudo. As root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing Debian packages for $purpose: ${missing[*]}"
    # "${as_root[@]}" would be an unbound variable in old versions of bash when it is empty
    ${as_root[@]+"${as_root[@]}"} apt-get -o DPkg::Lock::Timeout=300 update -qq
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
}

# make_venv PYTHON FOLDER: make a virtual environment, unless it is there and works.
make_venv() {
    local python=$1 folder=$2 version
    if "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_packages "a virtual environment" "python$version-venv"
    fi
    "$python" -m venv --clear "$folder"
}
