# shellcheck shell=bash
# What the programs in the folders here share. Source it first; it sets errexit.

set -euo pipefail
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"

self=${0##*/}
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck disable=SC2034
repo=${scripts%/*}

say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() { say "$*"; exit "${die_status:-1}"; }

# The comment at the head of a program is its manual.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0; }

# usage_error TEXT
usage_error() { die_status=${usage_status:-2} die "$1; see $self --help."; }

# ---- the cache folder -------------------------------------------------------

[[ ${KMEMCG_CACHE:-${XDG_CACHE_HOME:-${HOME-}}} ]] || die "HOME is not set: name a cache folder in KMEMCG_CACHE."
cache=${KMEMCG_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/rust-kmemcg}
[[ $cache = /* ]] || cache=$PWD/$cache
mkdir -p "$cache/lock" || die "the cache folder $cache cannot be made; name another in KMEMCG_CACHE."
cache=$(cd "$cache" && pwd -P)
[[ $repo != *[[:space:]:]* ]] || die "kbuild takes no path with a space or a colon ($repo); move the checkout."
[[ $cache != *[[:space:]:]* ]] || die "kbuild takes no path with a space or a colon ($cache); name another cache folder in KMEMCG_CACHE."
export KMEMCG_CACHE=$cache

# lock NAME: one run at a time. The lock is held until this process and its children end.
lock() {
    local fd
    exec {fd}>"$cache/lock/$1"
    flock --nonblock "$fd" && return
    say "waiting for another run that makes the same ($1)"
    flock "$fd"
}

# ---- long steps -------------------------------------------------------------

# step TEXT COMMAND…: runs COMMAND and shows the seconds it takes and its last line of output. If it
# fails, the program prints the end of that output and exits. COMMAND may be a function of this shell.
step() {
    step_text=$1 step_begin=$SECONDS step_log=$cache/log/$self-$$
    shift
    mkdir -p "$cache/log"
    : >"$step_log"
    say "$step_text"
    show_progress &
    ticker=$!
    "$@" >"$step_log" 2>&1 </dev/null
    end_progress
    say "  done in $((SECONDS - step_begin)) s"
}

show_progress() {
    local seconds
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$((SECONDS - step_begin))
        if [[ -t 2 ]]; then
            printf '\r\e[K  %3d s  %.60s' "$seconds" "$(tail -n 1 "$step_log" | tr -d '\r')" >&2
        elif ((seconds % 20 == 0)); then
            printf '  %3d s  %.60s\n' "$seconds" "$(tail -n 1 "$step_log")" >&2
        fi
    done
}

end_progress() {
    kill "$ticker" 2>/dev/null || :
    wait "$ticker" 2>/dev/null || :
    ticker=
    [[ ! -t 2 ]] || printf '\r\e[K' >&2
    rm -f "$step_log"
}

ticker=
exec {real_stderr}>&2
explain_failure() {
    local status=$?
    [[ $ticker ]] || return 0
    exec 2>&"$real_stderr"
    [[ ! -t 2 ]] || printf '\r\e[K' >&2
    tail -n 30 "$step_log" >&2
    say "failed after $((SECONDS - step_begin)) s: $step_text"
    end_progress
    ((status > 128)) || exit "${die_status:-1}"
}
trap explain_failure EXIT

# ---- the build root ---------------------------------------------------------

# packages SUITE: the packages of the root of that suite. The versioned names are the compilers that
# the suite's kernels are built with. There are two small roots of trixie: "model" has the model checkers,
# "browser" has a browser for the test of the report.
packages() {
    local compilers
    case $1 in
    model)
        echo spin gcc libc6-dev cargo ca-certificates
        return ;;
    browser)
        echo chromium-headless-shell fonts-dejavu-core python3 python3-pip ca-certificates
        return ;;
    trixie) compilers="gcc-14 clang-19 lld-19 llvm-19" ;;
    *) compilers="gcc clang lld llvm" ;;
    esac
    echo "$compilers" make flex bison bc libelf-dev libssl-dev libdw-dev \
        rustc rust-src rustfmt rust-clippy bindgen pahole openssl python3 perl \
        kmod cpio xz-utils zstd busybox-static qemu-system-x86 shellcheck
}

# root_options SUITE: what mmdebstrap is asked for, one option a line.
root_options() {
    local include
    include=$(packages "$1")
    printf '%s\n' --variant=apt "--include=${include// /,}" \
        --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
        --dpkgopt=path-exclude=/usr/share/{doc,man,info,locale}/'*'
}

# root_path SUITE: the path of the root of that suite, whether it has been made or not.
root_path() {
    local key
    key=$(root_options "$1" | sha256sum)
    echo "$cache/root/$1-${key:0:12}"
}

# Namespaces in which an ordinary user may chroot and mount. Their uid 0 is mapped to the user, who owns the
# files written there. All processes in them are killed with the one that created them.
namespaces=(unshare --mount --pid --fork)
((EUID == 0)) || namespaces+=(--map-root-user --map-auto)
namespaces+=(setpriv --pdeathsig KILL)

# in_root ARGS…: runs the program in-root, and kills it with this shell.
in_root() { setpriv --pdeathsig KILL "$scripts/build/in-root" "$@"; }

# root_suite SUITE: the suite of the root in which a kernel of SUITE is built.
root_suite() {
    case $1 in
    experimental) echo sid ;;
    *) echo "${1%-backports}" ;;
    esac
}

# suite_of FOLDER: the suite of the root that a kernel's folder was made in.
suite_of() {
    local suite=trixie
    [[ $1 != "$cache/kernel/"*-*/* ]] || suite=${1#"$cache/kernel/"} suite=${suite%%-*}
    echo "$suite"
}

# ---- the repository ---------------------------------------------------------

# repository_files [PATHSPEC]...: the files in the repository, committed or not, that git does not ignore.
repository_files() {
    local file
    git -C "$repo" ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
        [[ ! -f $repo/$file ]] || echo "$file"
    done
}

# copy_repository FOLDER [PATHSPEC]...
copy_repository() {
    repository_files "${@:2}" | tar --create --directory="$repo" --files-from=- --file=- | tar --extract --directory="$1"
}

# default_suites: the suites that check runs if none is named.
default_suites() { (cd "$scripts/test/suites" && grep -L '^# apart:' -- *); }

# ---- kbuild -----------------------------------------------------------------

# config_value FILE NAME: a value of a .config, unquoted; nothing when it is not set.
config_value() { sed -n "s/^CONFIG_$2=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$1"; }

# compiler_args CONFIG: the make variables, one a line, that name the compiler which CONFIG was made for,
# and the flags that it needs. User-mode Linux is linked far from its modules, so these need the large code model.
# It also does not clear the redzones that KASAN has poisoned around the globals of a module when that is unloaded,
# and KASAN would report the next module that is loaded there. So globals have no redzones; of two such flags the last
# one counts.
compiler_args() {
    local text
    text=$(config_value "$1" CC_VERSION_TEXT)
    if [[ $(config_value "$1" CC_IS_CLANG) = y ]]; then
        echo "LLVM=-$(($(config_value "$1" CLANG_VERSION) / 10000))"
    else
        echo "CC=${text%% *}"
    fi
    [[ $(config_value "$1" UML) != y ]] ||
        printf '%s\n' ARCH=um 'CFLAGS_MODULE=-mllvm -asan-globals=0' \
            'RUSTFLAGS_MODULE=-Crelocation-model=static -Ccode-model=large -Cllvm-args=-asan-globals=0'
}

# ---- kernels ----------------------------------------------------------------

# built_kernels: the names of the kernels that built-kernel makes.
built_kernels() { (cd "$scripts/kernel/config" && grep -l '^# kernel:' ./*.config | sed 's|^\./||; s/\.config$//'); }

is_built_kernel() { built_kernels | grep -qxF -- "$1"; }
