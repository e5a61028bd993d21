#!/usr/bin/env bash
# Starts Capital Governor, and everything it needs first: a virtual environment beside this file, made on first use.
#
# Exit codes of this script's own failures (a program it starts keeps its own):
#   2   the command is missing or unknown
#   75  the environment could not be made or filled, for example without a network; the same command may work later
#   78  no suitable Python on this machine; trying again does not help
set -Eeuo pipefail
trap 'note "line $LINENO failed unexpectedly"' ERR

SCRIPT=$(readlink -f -- "${BASH_SOURCE[0]}")
readonly SCRIPT
readonly PROJECT=${SCRIPT%/*}
readonly VENV=$PROJECT/.venv
readonly STAMP=$VENV/neo_light_fix.stamp
readonly INSTALL_LOG=$VENV/neo_light_fix.log

readonly EXIT_USAGE=2
readonly EXIT_TRY_LATER=75
readonly EXIT_PERMANENT=78

# --- messages -----------------------------------------------------------------------------------------------------
# Standard output belongs to the programs started here.

note() {
    printf 'neo_light_fix.sh: %s\n' "$1" >&2
}

die() {
    local code=$1 sentence=$2
    note "$sentence"
    exit "$code"
}

# --- Python -------------------------------------------------------------------------------------------------------

readonly PROBE_HAS_NO_VENV=4
readonly PROBE="
import sys
if sys.version_info < (3, 11):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    sys.exit($PROBE_HAS_NO_VENV)
"

# Prints the first Python that can make a virtual environment. Each is run, not just looked up: a version manager puts
# names on PATH behind which there is no Python.
find_python() {
    local name status without_venv=''
    for name in python3.13 python3.12 python3.11 python3; do
        status=0
        "$name" -I -c "$PROBE" >/dev/null 2>&1 || status=$?
        case $status in
            0)
                printf '%s\n' "$name"
                return
                ;;
            "$PROBE_HAS_NO_VENV") without_venv=${without_venv:-$name} ;;
        esac
    done
    if [[ -n $without_venv ]]; then
        die "$EXIT_PERMANENT" "$without_venv cannot make a virtual environment (its venv or ensurepip module is\
 missing): install it (Debian, Ubuntu: apt-get install $without_venv-venv) and run this again"
    fi
    die "$EXIT_PERMANENT" "Python 3.11 or newer is needed and none was found on PATH: install it (Debian, Ubuntu:\
 apt-get install python3 python3-venv; elsewhere see python.org) and run this again"
}

# --- the virtual environment --------------------------------------------------------------------------------------
# The stamp's first line is the folder it was made for, the second its state: 'installing' while files are changing
# (found later, it means that the work was interrupted), 'pending' when pip gave up, otherwise what is installed.

write_stamp() {
    printf '%s\n%s\n' "$PROJECT" "$1" >"$STAMP.new"
    mv -f -- "$STAMP.new" "$STAMP"
}

installed_state() {
    local extra=$1 sum
    sum=$(cksum <"$PROJECT/pyproject.toml")
    printf 'installed %s [%s]' "$sum" "$extra"
}

# Does the stamp, if there is one, allow to build on what is there? An environment without a stamp is somebody's own.
stamp_is_good() {
    [[ -e $STAMP ]] || return 0
    case $(<"$STAMP") in
        "$PROJECT"$'\n'installing) return 1 ;; # interrupted
        "$PROJECT"$'\n'?*) return 0 ;;
        *) return 1 ;; # moved or copied with its folder, or torn
    esac
}

# pip lives under a folder named after the Python version, so this also notices that the Python below was replaced.
venv_is_sound() {
    stamp_is_good &&
        "$VENV/bin/python" -I -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

venv_is_ready() {
    local extra=$1 stamp
    [[ -e $STAMP ]] || return 1
    stamp=$(<"$STAMP")
    # Whoever has the test extra has all that a run without it needs.
    [[ $stamp == "$PROJECT"$'\n'"$(installed_state "$extra")" ||
        $stamp == "$PROJECT"$'\n'"$(installed_state test)" ]] && venv_is_sound
}

make_venv() {
    local python
    python=$(find_python) || exit "$?"
    note "making .venv with $python"
    { rm -rf -- "$VENV" && mkdir -- "$VENV" && write_stamp installing; } || die "$EXIT_TRY_LATER" "cannot write $VENV"
    "$python" -I -m venv "$VENV" >&2 || die "$EXIT_TRY_LATER" "$python could not make $VENV: see above"
}

# In the project's folder, because pip would take brackets at the end of a path for the name of an extra.
pip_install() (
    cd -- "$PROJECT" &&
        PIP_DISABLE_PIP_VERSION_CHECK=1 exec "$VENV/bin/python" -I -m pip install "$@"
)

# Editable, so that a 'git pull' is all that an upgrade takes.
install_project() {
    local extra=$1 status=0
    note "installing into .venv (a minute or so the first time)"
    write_stamp installing
    pip_install --editable ".${extra:+[$extra]}" >"$INSTALL_LOG" 2>&1 || status=$?
    if ((status != 0)); then
        # pip ended by itself and has put back what it had replaced: the environment need not be made anew.
        write_stamp pending
        tail -n 20 -- "$INSTALL_LOG" >&2
        die "$EXIT_TRY_LATER" "pip failed with exit code $status, its whole output is in $INSTALL_LOG: remove the\
 cause and run this again"
    fi
    write_stamp "$(installed_state "$extra")"
}

# The lock is on the folder itself, so it outlives every remaking of .venv and leaves no file behind. A pip that
# survives a killed script holds it too. Without flock (not a Linux) two simultaneous first uses are not guarded.
lock_project() {
    command -v flock >/dev/null || return 0
    exec 9<"$PROJECT"
    flock -n 9 && return
    note "waiting for another neo_light_fix.sh that is preparing .venv"
    flock 9 || die "$EXIT_TRY_LATER" "cannot lock $PROJECT"
}

# A daemon started after this must not inherit the lock.
unlock_project() {
    exec 9<&-
}

ensure_venv() {
    local extra=$1
    if venv_is_ready "$extra"; then
        return
    fi
    lock_project
    # Somebody else may have done the work while this one waited.
    if ! venv_is_ready "$extra"; then
        if ! venv_is_sound; then
            make_venv
        fi
        install_project "$extra"
    fi
    unlock_project
}

# --- run and once -------------------------------------------------------------------------------------------------

names_a_root() {
    local argument
    for argument in "$@"; do
        case $argument in
            --root | --root=*) return 0 ;;
        esac
    done
    return 1
}

# -P keeps the caller's folder off the import path: a file of the same name there must not replace a module.
start_program() {
    ensure_venv ''
    if [[ -z ${NEOLIGHT_ROOT-} ]] && ! names_a_root "$@"; then
        export NEOLIGHT_ROOT=$PROJECT
    fi
    exec "$VENV/bin/python" -P -m capital_governor "$@"
}

# --- test ---------------------------------------------------------------------------------------------------------

step() {
    local heading=$1 status=0
    shift
    printf '\n== %s\n' "$heading"
    "$@" || status=$?
    if ((status != 0)); then
        die "$status" "$heading: failed with exit code $status"
    fi
}

# What the operator has set for the real thing must neither steer a test nor be reached by one.
without_operator_settings() (
    for name in $(compgen -e); do
        case $name in
            CAPITAL_GOVERNOR_* | NEOLIGHT_* | TELEGRAM_* | *_proxy | *_PROXY) unset "$name" ;;
        esac
    done
    exec "$@"
)

run_benchmarks() {
    step benchmarks without_operator_settings "$VENV/bin/pytest" tests/benchmarks -m bench -s "$@"
}

run_checks() {
    step 'ruff format' "$VENV/bin/ruff" format --check
    step 'ruff check' "$VENV/bin/ruff" check
    step mypy "$VENV/bin/mypy"
    step lint-imports "$VENV/bin/lint-imports"
    step shellcheck "$VENV/bin/shellcheck" neo_light_fix.sh .ci/run
    step pytest without_operator_settings "$VENV/bin/pytest" -W error -m 'not bench' \
        --cov --cov-branch --cov-report=term:skip-covered "$@"
}

test_project() {
    ensure_venv test
    cd -- "$PROJECT"
    if [[ ${1-} == --bench ]]; then
        shift
        run_benchmarks "$@"
    else
        run_checks "$@"
    fi
}

# --- commands -----------------------------------------------------------------------------------------------------

print_help() {
    cat <<'HELP'
Usage: neo_light_fix.sh COMMAND [ARGUMENT...]

  run  [OPTION...]           decide and publish at every interval, until stopped
  once [OPTION...]           one cycle, then exit
  test [PYTEST-ARGUMENT...]  format, lint, types, imports, shell, tests with coverage
  test --bench               only the benchmarks
  help                       this text

Options go to the program unchanged: 'neo_light_fix.sh once --help' lists them, and
'.venv/bin/capital-governor --help' lists the program's other commands.

NEOLIGHT_ROOT   the folder with state/, runtime/, logs/ and .env; unset: the folder of this script
Exit codes      2 wrong usage; 75 the environment could not be made, try again; 78 no suitable Python
HELP
}

main() {
    case ${1-} in
        run | once) start_program "$@" ;;
        test) test_project "${@:2}" ;;
        help | -h | --help) print_help ;;
        '')
            print_help >&2
            exit "$EXIT_USAGE"
            ;;
        *)
            print_help >&2
            die "$EXIT_USAGE" "unknown command: $1"
            ;;
    esac
}

main "$@"
