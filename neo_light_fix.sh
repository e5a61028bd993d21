#!/usr/bin/env bash
# Starts Capital Governor. On first use it makes a virtual environment beside this file.
# Without a command it supervises: it keeps the governor and the operator's own agents running, and writes their logs.
# The help at the end of this file has all commands and exit codes. It must run with bash 3.2, the version of macOS.

# 'sh neo_light_fix.sh' starts another shell, or bash in POSIX mode.
case ${BASH_VERSION:+${BASH##*/}} in
    '' | sh) exec bash -p -- "$0" "$@" ;;
esac
# With -p, bash ignores functions, options and the start file (BASH_ENV) in the environment, so that exports for other
# scripts cannot change this one. The environment itself stays as it is, for the operator's agents.
[[ $- == *p* ]] || exec "$BASH" -p -- "${BASH_SOURCE[0]}" "$@"

set +o posix # the environment may set it
set -Eeuo pipefail
trap 'note "line $LINENO failed unexpectedly"' ERR
# If exported, they would pass the options of this shell on to the shells of the agents.
export -n SHELLOPTS BASHOPTS

folder_of() {
    case $1 in
        */*) printf '%s/' "${1%/*}" ;;
        *) printf './' ;;
    esac
}

# Prints the path of a file without symlinks, since not every readlink has the option -f.
resolve() {
    local path=$1 link
    while [[ -L $path ]]; do
        link=$(readlink -- "$path")
        [[ $link == /* ]] || link=$(folder_of "$path")$link
        path=$link
    done
    printf '%s/%s' "$(cd -P -- "$(folder_of "$path")" && pwd -P)" "${path##*/}"
}

SCRIPT=$(resolve "${BASH_SOURCE[0]}")
readonly SCRIPT
readonly PROJECT=${SCRIPT%/*}
readonly VENV=$PROJECT/.venv

readonly EXIT_USAGE=2
readonly EXIT_PERMANENT=78

# --- messages -----------------------------------------------------------------------------------------------------
# They go to stderr; stdout is for the output of the programs.

note() {
    printf 'neo_light_fix.sh: %s\n' "$1" >&2
}

die() {
    local code=$1 sentence=$2
    note "$sentence"
    exit "$code"
}

# --- Python -------------------------------------------------------------------------------------------------------

readonly PROBE_IS_OLD=3
readonly PROBE_HAS_NO_VENV=4
readonly PROBE="
import sys
if sys.version_info < (3, 11):
    sys.exit($PROBE_IS_OLD)
try:
    import ensurepip, venv
except ImportError:
    sys.exit($PROBE_HAS_NO_VENV)
"

# Prints the first Python that can make a virtual environment. Each is run, since a version manager may put names on
# PATH that start no Python.
find_python() {
    local name status old='' without_venv=''
    for name in python3.13 python3.12 python3.11 python3; do
        status=0
        "$name" -I -c "$PROBE" >/dev/null 2>&1 || status=$?
        case $status in
            0)
                printf '%s\n' "$name"
                return
                ;;
            "$PROBE_IS_OLD") old=${old:-$name} ;;
            "$PROBE_HAS_NO_VENV") without_venv=${without_venv:-$name} ;;
        esac
    done
    if [[ -n $without_venv ]]; then
        die "$EXIT_PERMANENT" "$without_venv cannot make a virtual environment (its venv or ensurepip module is\
 missing): install it (Debian, Ubuntu: apt-get install $without_venv-venv) and run this again"
    fi
    if [[ -n $old ]]; then
        old+=" is $("$old" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        die "$EXIT_PERMANENT" "Python 3.11 or newer is needed, and $old: install a newer one beside it (Debian, Ubuntu:\
 apt-get install python3.11 python3.11-venv, where the release has them; elsewhere see python.org) and run this again"
    fi
    die "$EXIT_PERMANENT" "Python 3.11 or newer is needed and none was found on PATH: install it (Debian, Ubuntu:\
 apt-get install python3 python3-venv; elsewhere see python.org) and run this again"
}

# --- the virtual environment --------------------------------------------------------------------------------------
# .ci/environment.py judges, makes and fills it.

readonly ENVIRONMENT=$PROJECT/.ci/environment.py
readonly VENV_IS_NOT_FILLED=3
[[ -f $ENVIRONMENT || ${1-} == help || ${1-} == -h || ${1-} == --help ]] ||
    die "$EXIT_PERMANENT" "the project is not beside $SCRIPT: link to the script in the project, do not copy it"

judge_venv() {
    "$VENV/bin/python" -I "$ENVIRONMENT" judge "$1" >/dev/null 2>&1
}

ensure_venv() {
    local extra=$1 python=$VENV/bin/python status=0
    judge_venv "$extra" || status=$?
    case $status in
        0) return ;;
        "$VENV_IS_NOT_FILLED") ;;
        *) python=$(find_python) || exit "$?" ;; # it has to be made
    esac
    "$python" -I "$ENVIRONMENT" prepare "$extra" || exit "$?"
}

# --- the program's commands, test ----------------------------------------------------------------------------------

names_a_root() {
    local argument
    for argument in "$@"; do
        case $argument in
            --root | --root=*) return 0 ;;
        esac
    done
    return 1
}

# Python is always started with -I, so that no module in the caller's folder or in PYTHONPATH replaces one of its own.
start_program() {
    ensure_venv ''
    if [[ -z ${NEOLIGHT_ROOT-} ]] && ! names_a_root "$@"; then
        export NEOLIGHT_ROOT=$PROJECT
    fi
    exec "$VENV/bin/python" -I -m capital_governor "$@"
}

test_project() {
    # The checks start Python without -I: PYTHONPATH and similar variables are for other programs.
    # shellcheck disable=SC2086 # a word for each name
    unset ${!PYTHON*}
    ensure_venv test
    cd -- "$PROJECT"
    exec "$BASH" -p -- .ci/checks "$@"
}

# --- supervising --------------------------------------------------------------------------------------------------
# It is done in Python, in capital_governor/supervisor. The agents get this script's environment unchanged.

# An absolute path, since agents run in the root.
choose_root() {
    local root=${NEOLIGHT_ROOT:-$PROJECT}
    NEOLIGHT_ROOT=$(cd -- "$root" 2>/dev/null && pwd) ||
        die "$EXIT_PERMANENT" "NEOLIGHT_ROOT is '$root': no folder that can be entered"
    export NEOLIGHT_ROOT
}

readonly WITHOUT_ENVIRONMENT='
import runpy, sys
sys.path.append(sys.argv.pop(1))
runpy.run_module("capital_governor.supervisor", run_name="__main__", alter_sys=True)
'

# Commands that only look or stop make no environment. Without one, any Python works, since they need no packages.
supervisor() {
    local command=$1 python=$VENV/bin/python
    shift
    [[ $OSTYPE == linux* ]] ||
        die "$EXIT_PERMANENT" "supervising needs Linux, and this is $OSTYPE; run, once and hive work without"
    choose_root
    case $command in
        supervise | start | restart) ensure_venv '' ;;
        status) ! judge_venv '' || set -- ready ;;
    esac
    if "$python" -I -c 'import capital_governor.supervisor' >/dev/null 2>&1; then
        exec "$python" -I -m capital_governor.supervisor "$BASH" "$SCRIPT" "$command" "$@"
    fi
    python=$(find_python) || exit "$?"
    exec "$python" -I -c "$WITHOUT_ENVIRONMENT" "$PROJECT" "$BASH" "$SCRIPT" "$command" "$@"
}

take_no_more_than() {
    local most=$1 command=$2
    (($# - 2 <= most)) || die "$EXIT_USAGE" "$command takes no such argument: ${*:most+3}"
}

# --- commands -----------------------------------------------------------------------------------------------------

print_help() {
    cat <<'HELP'
Usage: neo_light_fix.sh [COMMAND [ARGUMENT...]]

Without a command: keep the governor and the agents of .agents.sh running, in the foreground, until a signal.

  start                      the same in the background
  stop                       end the supervisor and all that it keeps
  restart [NAME]             stop, then start: all, or one agent; tries again what was given up
  status                     the supervisor, each agent, and the governor's own report; with options this report alone
  logs [NAME]                follow the log of NAME, or all logs

The program's commands, for the root below; COMMAND --help has the options of each:

  look     check, doctor, explain, history, decisions, diff, limits, show-config, schema, docs
  order    hold, resume, accept, limit, unlimit, exposure, release
  govern   run, once, reload, hive
  try      demo: a simulated fleet in .demo, nothing real is touched
  print    deploy, completion: a unit for systemd, what completes commands in a shell

  test [PYTEST-ARGUMENT...]  format, lint, types, imports, shell, tests
  test --coverage            the same, and which lines the tests reach; slower
  test --bench               only the benchmarks
  test --soak MINUTES        the real thing among faults, then a table; --seed N has others
  help                       this text

From the environment (seconds may have up to three decimals):
NEOLIGHT_ROOT                   the folder with state/, runtime/, logs/ and .env; unset: the folder of this script
NEO_LIGHT_BACKOFF_SECONDS       2; the first wait before an agent is started again; doubles with each
NEO_LIGHT_BACKOFF_MAX_SECONDS   60; the longest wait
NEO_LIGHT_HEALTHY_SECONDS       60; an agent that ran as long as this is waited for as if it were the first time
NEO_LIGHT_STOP_SECONDS          10; how long an agent may take to end before it is killed
NEO_LIGHT_LOG_MAX_BYTES         10485760; a log that would grow beyond becomes NAME.log.1
NEO_LIGHT_LOG_KEEP              5; how many such logs stay

Exit codes  2 wrong usage; 3 no supervisor is running (status, restart NAME);
            75 not now (another supervisor, no network), try again; 78 a person must mend something: no suitable Python,
            no right to write, a wrong setting, a faulty .agents.sh, or an agent gave up (status).
            status ends otherwise with the exit code of the governor's own report: 0 if it governs, else 75.
HELP
}

main() {
    case ${1-} in
        '') supervisor supervise ;;
        check | doctor | explain | history | decisions | diff | limits) start_program "$@" ;;
        show-config | schema | docs | deploy | completion) start_program "$@" ;;
        hold | resume | accept | limit | unlimit | exposure | release) start_program "$@" ;;
        run | once | reload | hive | demo | --version) start_program "$@" ;;
        test) test_project "${@:2}" ;;
        logs | restart) take_no_more_than 1 "$@" && supervisor "$@" ;;
        start | stop) take_no_more_than 0 "$@" && supervisor "$@" ;;
        status) if (($# > 1)); then start_program "$@"; else supervisor "$@"; fi ;;
        help | -h | --help) print_help ;;
        _demo) supervisor _demo ;; # what 'demo' starts
        *)
            print_help >&2
            die "$EXIT_USAGE" "unknown command: $1"
            ;;
    esac
}

# On one line, so that bash does not read on: the file may have been replaced when main ends.
main "$@"; exit
