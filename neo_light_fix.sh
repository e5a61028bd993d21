#!/usr/bin/env bash
# Starts Capital Governor, and everything it needs first: a virtual environment beside this file, made on first use.
# Without a command it supervises: it keeps the governor and the operator's own agents running, and their logs.
#
# Exit codes of this script's own failures (a program it starts keeps its own):
#   2   the command is unknown or wrongly used
#   3   status: no supervisor is running
#   75  it cannot be done now: another supervisor has the root, or the environment could not be made or filled, for
#       example without a network; the same command may work later
#   78  no suitable Python on this machine, no right to write, a wrong setting or a faulty .agents.sh; trying again does
#       not help
#
# All of it is read by bash 3.2, which macOS has: what is newer stands in what supervises, and is reached by that alone.

# Started as 'sh neo_light_fix.sh' it is another shell, or bash in its POSIX mode, that reads this.
case ${BASH_VERSION:+${BASH##*/}} in
    '' | sh) exec bash -p -- "$0" "$@" ;;
esac
# A privileged (-p) bash takes no functions, options or start file (BASH_ENV) from the environment: what somebody
# exports for other scripts cannot change this one. The environment stays as it is, for the operator's agents.
[[ $- == *p* ]] || exec "$BASH" -p -- "${BASH_SOURCE[0]}" "$@"

set +o posix # the environment can ask for it, too
set -Eeuo pipefail
trap 'note "line $LINENO failed unexpectedly"' ERR
# Exported, they would hand the options of this shell to the shells of the agents.
export -n SHELLOPTS BASHOPTS

folder_of() {
    case $1 in
        */*) printf '%s/' "${1%/*}" ;;
        *) printf './' ;;
    esac
}

# Prints a file's path without any link in it: the option -f of readlink is not everywhere.
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
readonly STAMP=$VENV/neo_light_fix.stamp
readonly INSTALL_LOG=$VENV/neo_light_fix.log

readonly AGENTS_FILE=$PROJECT/.agents.sh
DEMO='' # set where the operator's own agents must stay out of it

readonly EXIT_USAGE=2
readonly EXIT_NOT_RUNNING=3
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

# Prints the first Python that can make a virtual environment. Each is run, not just looked up: a version manager puts
# names on PATH behind which there is no Python.
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

# For what starts further Pythons without -I, as pip and the tests do: PYTHONPATH and its like are for other programs.
forget_python_settings() {
    local name
    for name in ${!PYTHON*}; do
        unset "$name"
    done
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
    command -v cksum >/dev/null || die "$EXIT_PERMANENT" "cksum is missing: install it (Debian, Ubuntu: coreutils)"
    [[ -e $STAMP ]] || return 1
    stamp=$(<"$STAMP")
    # Whoever has the test extra has all that a run without it needs.
    [[ $stamp == "$PROJECT"$'\n'"$(installed_state "$extra")" ||
        $stamp == "$PROJECT"$'\n'"$(installed_state test)" ]] && venv_is_sound
}

# Only a person can give the right to write; what else goes wrong with the environment may be over the next time.
demand_write() {
    [[ -w $1 ]] || die "$EXIT_PERMANENT" "cannot write to $1, where the virtual environment has to be made or renewed:\
 let this user write there, or run this once as the one who may"
}

make_venv() {
    local python
    python=$(find_python) || exit "$?"
    demand_write "$PROJECT"
    [[ ! -d $VENV ]] || demand_write "$VENV"
    note "making .venv with $python"
    { rm -rf -- "$VENV" && mkdir -- "$VENV" && write_stamp installing; } ||
        die "$EXIT_TRY_LATER" "cannot write $VENV: see above, mend that and run this again"
    (forget_python_settings && exec "$python" -I -m venv "$VENV" >&2) ||
        die "$EXIT_TRY_LATER" "$python could not make $VENV: see above"
}

# In the project's folder, because pip would take brackets at the end of a path for the name of an extra. Where packages
# come from is for the operator's settings of pip to say, but not where they go, which, and for what Python.
pip_install() (
    forget_python_settings
    unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_PLATFORM PIP_PYTHON_VERSION PIP_IMPLEMENTATION PIP_ABI
    unset PIP_DRY_RUN PIP_NO_DEPS PIP_NO_DEPENDENCIES PIP_NO_BUILD_ISOLATION PIP_REQUIREMENT PIP_EDITABLE
    cd -- "$PROJECT" &&
        PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
            exec "$VENV/bin/python" -I -m pip install --no-user --target= --root=/ --prefix="$VENV" "$@"
)

# Did pip give up on the index? It tries again before it does, so that only its last attempt counts.
index_was_out_of_reach() {
    local said
    said=$(<"$INSTALL_LOG")
    [[ $said == *'Retry(total=0,'*'connection broken by'* || $said == *'Max retries exceeded'* ]]
}

# Editable, so that a 'git pull' is all that an upgrade takes.
install_project() {
    local extra=$1 status=0
    demand_write "$VENV"
    note "installing into .venv (a minute or so the first time)"
    write_stamp installing
    pip_install --editable ".${extra:+[$extra]}" >"$INSTALL_LOG" 2>&1 || status=$?
    if ((status != 0)); then
        # pip ended by itself and has put back what it had replaced: the environment need not be made anew.
        write_stamp pending
        ! index_was_out_of_reach ||
            die "$EXIT_TRY_LATER" "the package index cannot be reached: give this machine a network, or name an index\
 that it reaches in PIP_INDEX_URL, and run this again (pip's whole output is in $INSTALL_LOG)"
        tail -n 20 -- "$INSTALL_LOG" >&2
        die "$EXIT_TRY_LATER" "pip failed with exit code $status, its whole output is in $INSTALL_LOG: remove the\
 cause and run this again"
    fi
    write_stamp "$(installed_state "$extra")"
}

# The lock is on the folder itself, so it outlives every remaking of .venv and leaves no file behind. A pip that
# survives a killed script holds it too. Without flock (not a Linux), or on a file system without locks, two
# simultaneous first uses are not guarded.
lock_project() {
    local status=0
    command -v flock >/dev/null || return 0
    exec 9<"$PROJECT"
    flock -n 9 2>/dev/null || status=$?
    ((status == 1)) || return 0
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

# -I, here and wherever Python is started: neither the caller's folder nor one of PYTHONPATH may replace a module.
start_program() {
    ensure_venv ''
    if [[ -z ${NEOLIGHT_ROOT-} ]] && ! names_a_root "$@"; then
        export NEOLIGHT_ROOT=$PROJECT
    fi
    exec "$VENV/bin/python" -I -m capital_governor "$@"
}

# --- demo ---------------------------------------------------------------------------------------------------------

# It takes nothing from the environment or the root of the real thing, and writes to .demo beside this file only.
show_demo() {
    ensure_venv ''
    exec "$VENV/bin/python" -I -m capital_governor demo "$@"
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
# shellcheck disable=SC2329 # 'step' runs it
without_operator_settings() (
    for name in $(compgen -e); do
        case $name in
            CAPITAL_GOVERNOR_* | NEOLIGHT_* | NEO_LIGHT_* | TELEGRAM_* | *_proxy | *_PROXY) unset "$name" ;;
        esac
    done
    exec "$@"
)

# What the fault tests break the governor with. Without one of these the tests that need it are skipped, which fails a
# run with CI=true.
ensure_fault_tools() {
    local tool packages=''
    for tool in strace faketime unshare; do
        command -v "$tool" >/dev/null || packages+=" ${tool/unshare/util-linux}"
    done
    if [[ -z $packages ]]; then
        return
    fi
    if [[ $(id -u 2>/dev/null || true) == 0 ]] && command -v apt-get >/dev/null; then
        note "installing for the fault tests:$packages"
        # shellcheck disable=SC2086 # a word for each package
        if { apt-get install -y --no-install-recommends $packages ||
            { apt-get update && apt-get install -y --no-install-recommends $packages; }; } >>"$INSTALL_LOG" 2>&1; then
            return
        fi
        note "that failed, see $INSTALL_LOG"
    fi
    note "fault tests are skipped that need what is missing here (Debian, Ubuntu: apt-get install$packages, as root)"
}

run_benchmarks() {
    step benchmarks without_operator_settings "$VENV/bin/pytest" tests/benchmarks -m bench -s "$@"
}

run_soak() {
    step soak without_operator_settings "$VENV/bin/python" -m tests.soak "$@"
}

run_checks() {
    local -a options=()
    if [[ ${1-} == --coverage ]]; then
        shift
        options=(--cov --cov-branch --cov-report=term:skip-covered)
    fi
    (($# > 0)) || options+=(-n 2 --dist loadgroup) # all tests: a process on each core of a small machine
    ensure_fault_tools
    step 'ruff format' "$VENV/bin/ruff" format --check
    step 'ruff check' "$VENV/bin/ruff" check
    step mypy "$VENV/bin/mypy"
    step lint-imports "$VENV/bin/lint-imports"
    step shellcheck "$VENV/bin/shellcheck" neo_light_fix.sh .ci/run
    step pytest without_operator_settings "$VENV/bin/pytest" -W error -m 'not bench' \
        ${options[@]+"${options[@]}"} "$@" # an empty list counts as unset for bash 3.2
}

test_project() {
    ensure_venv test
    cd -- "$PROJECT"
    if [[ ${1-} == --bench ]]; then
        shift
        run_benchmarks "$@"
    elif [[ ${1-} == --soak ]]; then
        shift
        run_soak "$@"
    else
        run_checks "$@"
    fi
}

# --- agents -------------------------------------------------------------------------------------------------------
# Filled by ensure_running, in the order of the calls; each array is indexed by the agent's name.

NAMES=()

# Bash 4.4 brought 'mapfile -d', the newest of what supervising needs. Macs have 3.2, which has no such tables either.
demand_bash() {
    # shellcheck disable=SC2034 # it is only tried
    (mapfile -d '' -t nothing) </dev/null 2>/dev/null ||
        die "$EXIT_PERMANENT" "bash 4.4 or newer is needed to supervise, and this is $BASH_VERSION: install a newer one\
 (macOS: brew install bash) and put it first on PATH; run, once and hive work without"
    declare -gA COMMAND=() OWN=() LOG=() LOG_OWNER=()
    declare -gA STATE=() KEEPER=() AGENT_PID=() SINCE=() STARTED_MS=() DUE_MS=() DUE=() WAIT_MS=() LAST_EXIT=()
}

readonly AGENT_NAME='^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'

# ensure_running NAME COMMAND [LOGFILE]: COMMAND is a line of bash, run in NEOLIGHT_ROOT. It must stay in the
# foreground: what it leaves running when it ends is ended too. LOGFILE is relative to NEOLIGHT_ROOT; default:
# logs/NAME.log.
ensure_running() {
    local name=${1-} command=${2-} log=${3:-logs/${1-}.log}
    [[ $name =~ $AGENT_NAME ]] ||
        die "$EXIT_PERMANENT" "ensure_running '$name': a name is 1 to 64 letters, digits, '_', '.' or '-'"
    [[ -n $command ]] || die "$EXIT_PERMANENT" "ensure_running $name: its second argument, the command, is missing"
    [[ -z ${COMMAND[$name]-} && $name != neo_light_fix ]] ||
        die "$EXIT_PERMANENT" "ensure_running $name: this name is taken"
    [[ $log == /* ]] || log=$ROOT/$log
    [[ ! -d $log ]] || die "$EXIT_PERMANENT" "ensure_running $name: $log is a folder: name a file as its log"
    [[ -z ${LOG_OWNER[$log]-} && $log != "$OWN_LOG" ]] ||
        die "$EXIT_PERMANENT" "ensure_running $name: ${LOG_OWNER[$log]-neo_light_fix} writes to $log already"
    NAMES+=("$name")
    COMMAND[$name]=$command
    LOG[$name]=$log
    LOG_OWNER[$log]=$name
}

# The operator's file runs in a shell of its own, which hands over what it was told: nothing in it can change, end or
# stop the supervisor. The status of its last line says nothing (think of '[[ -e x ]] && ensure_running ...'), so a line
# after the last one tells whether all of it was run.
# shellcheck disable=SC2016 # expanded by the other shell
readonly READ_AGENTS='
exec {handover}>&1 >&2
ensure_running() { printf "%s\0" "$#" "${1-}" "${2-}" "${3-}" >&"$handover"; }
ROOT=$NEOLIGHT_ROOT
cd -- "$ROOT"
source "$1"
printf "end\0" >&"$handover"
'

# The environment, else .env, which the program reads: it alone knows what is in there, whatever wrote it. Without a .env
# nobody need be asked. What cannot be known is said: the governor refuses the same .env, and the other agents shall run.
hive_is_on() {
    local name=CAPITAL_GOVERNOR_HIVE value=${CAPITAL_GOVERNOR_HIVE-} problem="the line above says why"
    if [[ -z $value && (-e $ROOT/.env || -L $ROOT/.env) ]]; then
        value=$("$VENV/bin/python" -I -m capital_governor.settings.dotenv "$name" "$ROOT/.env") || value=unknown
    fi
    case $value in
        1) return 0 ;;
        '' | 0) return 1 ;;
        unknown) ;;
        *) problem="it is '$value' and takes 0 or 1" ;;
    esac
    note "whether to keep the hive cannot be told from $name ($problem), so it is not kept: put that right, then\
 'neo_light_fix.sh restart'"
    return 1
}

# An editor of another system may have saved it; bash would fail in words that name neither cause nor remedy.
demand_plain_text() {
    local file=$1 text='' LC_ALL=C
    [[ -f $file && -r $file ]] || return 0
    ! IFS= read -rd '' text <"$file" ||
        die "$EXIT_PERMANENT" "$file is no plain text (it may be UTF-16): save it as UTF-8"
    [[ $text != $'\xef\xbb\xbf'* ]] ||
        die "$EXIT_PERMANENT" "$file begins with a byte-order mark, which bash takes for a command: save it as UTF-8\
 without one (sed -i '1s/^...//' does it, with LC_ALL=C)"
    [[ $text != *$'\r\n'* ]] ||
        die "$EXIT_PERMANENT" "$file has the line ends of Windows, which bash takes for a part of each command: save it\
 with those of Unix (sed -i 's/\r\$//' does it)"
}

own_command() {
    printf 'exec %q -I -m capital_governor %s' "$VENV/bin/python" "$1"
}

# The operator's agents and the governor; the environment need not be there for that.
load_agents() {
    local -a words=()
    local position
    NAMES=() COMMAND=() OWN=() LOG=() LOG_OWNER=()
    ensure_running capital_governor "$(own_command run)"
    OWN[capital_governor]=yes
    [[ -z $DEMO && -e $AGENTS_FILE ]] || return 0
    demand_plain_text "$AGENTS_FILE"
    "$BASH" -n "$AGENTS_FILE" || die "$EXIT_PERMANENT" "$AGENTS_FILE is not valid bash: see above"
    mapfile -d '' -t words < <("$BASH" -p -c "$READ_AGENTS" .agents.sh "$AGENTS_FILE" </dev/null || :)
    ((${#words[@]} % 4 == 1)) && [[ ${words[-1]} == end ]] ||
        die "$EXIT_PERMANENT" "$AGENTS_FILE ended before its last line: it may not use\
 'exit', and with 'set -e' no command in it may fail"
    for ((position = 0; position + 4 <= ${#words[@]}; position += 4)); do
        ((words[position] <= 3)) || die "$EXIT_PERMANENT" "ensure_running ${words[position + 1]}:\
 ${words[position]} arguments are too many: put the command, with all its own, in quotes"
        ensure_running "${words[@]:position+1:3}"
    done
}

# For those who only look: an environment that is out of date, or that somebody is making, can answer, too.
can_ask_program() {
    "$VENV/bin/python" -I -c 'import capital_governor.settings.dotenv' >/dev/null 2>&1
}

# Comes before the operator's agents, which may need what it serves.
load_hive() {
    hive_is_on || return 0
    ensure_running hive "$(own_command hive)"
    OWN[hive]=yes
    NAMES=(capital_governor hive "${NAMES[@]:1:${#NAMES[@]}-2}")
}

# --- the supervisor's root, settings and files --------------------------------------------------------------------

# In variables, since not every bash takes such patterns as they are.
readonly SECONDS_GIVEN='^([0-9]{1,6})(\.([0-9]{1,3}))?$'
readonly PID_MESSAGE='^([^ ;]+) ([0-9]+);(.*)$'

# Prints a number of seconds, given with up to three decimals, in milliseconds.
milliseconds() {
    local name=$1 value=$2 fraction
    [[ $value =~ $SECONDS_GIVEN ]] ||
        die "$EXIT_PERMANENT" "$name is '$value': it takes seconds, 0 to 999999, with up to three decimals"
    fraction=${BASH_REMATCH[3]}000
    printf '%d' "$((10#${BASH_REMATCH[1]} * 1000 + 10#${fraction:0:3}))"
}

whole_number() {
    local name=$1 value=$2
    [[ $value =~ ^[1-9][0-9]{0,11}$ ]] || die "$EXIT_PERMANENT" "$name is '$value': it takes a whole number, 1 or more"
    printf '%s' "$value"
}

read_supervision_settings() {
    BACKOFF_MS=$(milliseconds NEO_LIGHT_BACKOFF_SECONDS "${NEO_LIGHT_BACKOFF_SECONDS:-2}") || exit
    BACKOFF_MAX_MS=$(milliseconds NEO_LIGHT_BACKOFF_MAX_SECONDS "${NEO_LIGHT_BACKOFF_MAX_SECONDS:-60}") || exit
    HEALTHY_MS=$(milliseconds NEO_LIGHT_HEALTHY_SECONDS "${NEO_LIGHT_HEALTHY_SECONDS:-60}") || exit
    STOP_SECONDS=${NEO_LIGHT_STOP_SECONDS:-10}
    STOP_MS=$(milliseconds NEO_LIGHT_STOP_SECONDS "$STOP_SECONDS") || exit
    LOG_MAX_BYTES=$(whole_number NEO_LIGHT_LOG_MAX_BYTES "${NEO_LIGHT_LOG_MAX_BYTES:-10485760}") || exit
    LOG_KEEP=$(whole_number NEO_LIGHT_LOG_KEEP "${NEO_LIGHT_LOG_KEEP:-5}") || exit
    ((BACKOFF_MS > 0 && BACKOFF_MS <= BACKOFF_MAX_MS)) ||
        die "$EXIT_PERMANENT" "NEO_LIGHT_BACKOFF_SECONDS must be above 0 and at most NEO_LIGHT_BACKOFF_MAX_SECONDS"
    # The keeper's own time for what an agent leaves behind and for its last lines comes on top.
    PATIENCE_MS=$((STOP_MS + 10000))
}

# Agents run in the root, so everything below it is named in full.
choose_root() {
    demand_bash
    export NEOLIGHT_ROOT=${NEOLIGHT_ROOT:-$PROJECT}
    ROOT=$(cd -- "$NEOLIGHT_ROOT" 2>/dev/null && pwd) ||
        die "$EXIT_PERMANENT" "NEOLIGHT_ROOT is '$NEOLIGHT_ROOT': no folder that can be entered"
    NEOLIGHT_ROOT=$ROOT
    OWN_LOG=$ROOT/logs/neo_light_fix.log
    STATE_FILE=$ROOT/runtime/neo_light_fix.state
    SUPERVISOR_LOCK=$ROOT/runtime/neo_light_fix.lock
    AGENTS_LOCK=$ROOT/runtime/neo_light_fix.agents.lock
    BACKGROUND=''
    read_supervision_settings
}

prepare_root() {
    command -v flock >/dev/null && command -v setsid >/dev/null && [[ -r /proc/self/stat ]] ||
        die "$EXIT_PERMANENT" "supervising needs Linux, with flock and setsid (package util-linux)"
    # On a pipe of its own, which nobody else can have locked.
    flock -w 1 5 5< <(:) 2>/dev/null ||
        die "$EXIT_PERMANENT" "supervising needs the flock of util-linux, and this is another one, which has no option\
 -w (busybox's has none): install the package util-linux"
    mkdir -p -- "$ROOT/runtime" "$ROOT/logs" 2>/dev/null && [[ -w $ROOT/runtime && -w $ROOT/logs ]] ||
        die "$EXIT_PERMANENT" "cannot write to runtime/ and logs/ in $ROOT: let this user write there, move away what\
 is no folder, or give another root in NEOLIGHT_ROOT"
}

# Since the machine was started, so that a change of its clock neither shortens nor stretches a wait. No fork.
read_uptime_ms() {
    local uptime
    read -r uptime _ </proc/uptime
    uptime=${uptime/./}
    NOW_MS=$((10#$uptime * 10))
}

# Sets PARENT and START, in clock ticks since the machine was started, of a process; fails if there is none.
read_process() {
    local stat
    local -a fields
    # Read to its end, for the name in it may contain anything; it has no NUL, so 'read' never calls that a success.
    { IFS= read -rd '' stat <"/proc/$1/stat" || [[ -n ${stat-} ]]; } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    PARENT=${fields[1]-} START=${fields[19]-}
}

# Only a child of this very shell counts: a pid that was given to somebody else since is not taken for it.
is_my_child() {
    local PARENT START
    read_process "$1" && [[ $PARENT == "$$" ]]
}

# A shared lock, so that two that look do not see each other; gone again when the subshell ends.
is_locked() {
    local status=0
    [[ -r $1 ]] && command -v flock >/dev/null || return 1
    (flock -n -s 5) 5<"$1" || status=$?
    ((status == 1))
}

# --- supervising --------------------------------------------------------------------------------------------------
# One keeper a running agent (capital_governor/keeper.py says how it makes sure that nothing outlives the supervisor).
# File descriptors: 8 the supervisor's lock, which nobody inherits; 7 the lock that keepers hold with it, so that a new
# supervisor waits until the agents of a killed one have ended; 6 a channel on which keepers say the pids of agents.

STOPPING=''
DIRTY=''
HEARD=''
UNSAID=0

# Neither a full disk nor a closed terminal may end the supervisor, nor may a reader that has stalled (a paused pager, a
# terminal stopped with Ctrl-S) hold it up. So another process writes the line and says so on a pipe; it is killed when
# that takes too long. What cannot be said is counted, and the count is said with the next line that can be.
report() {
    local line lost='' told='' written patience=1
    [[ -z $BACKGROUND ]] || rotate_own_log
    TZ=UTC0 printf -v line '%(%FT%TZ)T neo_light_fix.sh: %s\n' -1 "$1"
    if ((UNSAID)); then
        patience=0.05
        TZ=UTC0 printf -v lost '%(%FT%TZ)T neo_light_fix.sh: messages that could not be written: %d\n' -1 "$UNSAID"
    fi
    exec {written}< <(
        exec 6>&- 7>&- 8>&-
        printf %s "$lost$line" >&2 2>/dev/null && printf .
    ) || return 0
    IFS= read -rt "$patience" -N 1 -u "$written" told || :
    if [[ $told == . ]]; then
        UNSAID=0
    else
        UNSAID=$((UNSAID + 1))
        kill -KILL "$!" 2>/dev/null || : # it has just ended, without a word
    fi
    exec {written}<&-
}

# Renamed, never truncated, before a line is written; only the supervisor writes here. What cannot be renamed grows on.
rotate_own_log() {
    local size number=1
    [[ -f $OWN_LOG ]] || return 0 # a FIFO would be waited for
    size=$(wc -c 2>/dev/null <"$OWN_LOG") || size=0
    ((size >= LOG_MAX_BYTES)) || return 0
    while ((number < LOG_KEEP)) && [[ -e $OWN_LOG.$number ]]; do
        number=$((number + 1))
    done
    for (( ; number > 1; number--)); do
        mv -f -- "$OWN_LOG.$((number - 1))" "$OWN_LOG.$number" 2>/dev/null || return 0
    done
    mv -f -- "$OWN_LOG" "$OWN_LOG.1" 2>/dev/null || return 0
    : 2>/dev/null >>"$OWN_LOG" && exec 2>>"$OWN_LOG" || return 0
}

launch() {
    local name=$1
    local -a shell=("$BASH")
    [[ -z ${OWN[$name]-} ]] || shell+=(-p) # an operator's agent has all that the operator's environment brings
    "$VENV/bin/python" -I -m capital_governor.supervisor.keeper --name "$name" --parent "$$" --tell 6 \
        --stop-seconds "$STOP_SECONDS" --log "${LOG[$name]}" --max-bytes "$LOG_MAX_BYTES" --keep "$LOG_KEEP" \
        -- "${shell[@]}" -c "${COMMAND[$name]}" </dev/null 8>&- &
    KEEPER[$name]=$!
    AGENT_PID[$name]=''
    STARTED_MS[$name]=$NOW_MS
    enter "$name" running
}

enter() {
    local name=$1
    STATE[$name]=$2
    printf -v "SINCE[$name]" '%(%s)T' -1
    DIRTY=yes
}

# An agent that ends with exit code 0 is started again like any other: it was meant to stay.
conclude() {
    local name=$1 code=0 wait_ms=${WAIT_MS[$1]}
    wait "${KEEPER[$name]}" || code=$?
    KEEPER[$name]=''
    AGENT_PID[$name]=''
    LAST_EXIT[$name]=$code
    if ((code == EXIT_PERMANENT)); then
        enter "$name" gave-up
        report "$name gave up with exit code $code (a person must mend its configuration, see ${LOG[$name]}): it is\
 not started again before 'neo_light_fix.sh restart'"
        return
    fi
    if ((NOW_MS - STARTED_MS[$name] >= HEALTHY_MS)); then
        wait_ms=$BACKOFF_MS
    fi
    DUE_MS[$name]=$((NOW_MS + wait_ms))
    enter "$name" waiting
    DUE[$name]=$((SINCE[$name] + (wait_ms + 999) / 1000))
    WAIT_MS[$name]=$((wait_ms * 2 < BACKOFF_MAX_MS ? wait_ms * 2 : BACKOFF_MAX_MS))
    printf -v wait_ms '%d.%03d' "$((wait_ms / 1000))" "$((wait_ms % 1000))"
    report "$name ended with exit code $code: started again in $wait_ms s"
}

tend() {
    local name=$1
    case ${STATE[$name]} in
        running) is_my_child "${KEEPER[$name]}" || conclude "$name" ;;
        waiting) ((NOW_MS < DUE_MS[$name])) || launch "$name" ;;
    esac
}

# Waits a little for news, 'NAME PID;' in a line. A wait that is over in the midst of a line leaves its first part,
# which the next one completes; so it is the ';' that ends a message.
listen() {
    local part patience=0.2
    while IFS= read -rt "$patience" -u 6 part || [[ -n $part ]]; do
        HEARD+=$part
        while [[ $HEARD =~ $PID_MESSAGE ]]; do
            HEARD=${BASH_REMATCH[3]}
            note_pid "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        done
        patience=0.01
    done
}

note_pid() {
    local name=$1 pid=$2
    report "$name runs, pid $pid"
    # If it has ended since, the pid is nobody's.
    if [[ ${STATE[$name]-} == running ]]; then
        AGENT_PID[$name]=$pid
        DIRTY=yes
    fi
}

# For 'status' and 'stop', replaced as a whole. A disk that refuses it must not end the supervisor.
write_state() {
    local name
    DIRTY=''
    if ! {
        printf 'neo_light_fix\t%s\t%s\t%s\n' "$$" "$SUPERVISOR_START" "$SUPERVISOR_SINCE"
        for name in "${NAMES[@]}"; do
            printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "${STATE[$name]}" "${AGENT_PID[$name]:--}" "${SINCE[$name]}" \
                "${DUE[$name]:--}" "${LAST_EXIT[$name]:--}"
        done
    } 2>/dev/null >"$STATE_FILE.new" || ! mv -f -- "$STATE_FILE.new" "$STATE_FILE" 2>/dev/null 7>&- 8>&-; then
        report "cannot write $STATE_FILE: 'status' and 'stop' may not know of the last change"
    fi
}

any_keeper() {
    local name
    for name in "${NAMES[@]}"; do
        if [[ -n ${KEEPER[$name]-} ]] && is_my_child "${KEEPER[$name]}"; then
            return 0
        fi
    done
    return 1
}

signal_keepers() {
    local name
    for name in "${NAMES[@]}"; do
        if [[ -n ${KEEPER[$name]-} ]] && is_my_child "${KEEPER[$name]}"; then
            kill "-$1" "${KEEPER[$name]}" 2>/dev/null || : # it has just ended
        fi
    done
}

# Whatever ends the supervisor, its agents come first. Keepers kill what does not end in time; one that hangs is killed
# here, and with it its agent.
end_agents() {
    local deadline name
    trap - EXIT
    read_uptime_ms
    deadline=$((NOW_MS + PATIENCE_MS))
    signal_keepers TERM
    while any_keeper; do
        read_uptime_ms
        if ((NOW_MS >= deadline)); then
            signal_keepers KILL
        fi
        read -rt 0.05 -u 6 _ || : # a pause, not a message
    done
    for name in "${NAMES[@]}"; do
        KEEPER[$name]='' AGENT_PID[$name]=''
        enter "$name" stopped
    done
    write_state
}

# lock DESCRIPTOR FILE OPTION...: fails if somebody else has the lock on the file, which is open as DESCRIPTOR.
lock() {
    local status=0
    flock "${@:3}" "$1" || status=$?
    ((status < 2)) || die "$EXIT_PERMANENT" "cannot lock $2: see above; a file system without locks cannot have it"
    return "$status"
}

become_the_supervisor() {
    { true 8>>"$SUPERVISOR_LOCK" 7>>"$AGENTS_LOCK"; } 2>/dev/null ||
        die "$EXIT_PERMANENT" "cannot write in $ROOT/runtime: let this user write to neo_light_fix.lock and\
 neo_light_fix.agents.lock there, or move away what is in their place"
    exec 8>>"$SUPERVISOR_LOCK" 7>>"$AGENTS_LOCK"
    # A second's patience is for those who only look.
    lock 8 "$SUPERVISOR_LOCK" -w 1 ||
        die "$EXIT_TRY_LATER" "another supervisor runs on $ROOT: 'neo_light_fix.sh status' shows it"
    if ! lock 7 "$AGENTS_LOCK" -n; then
        report "waiting for the agents of a supervisor that was killed to end"
        lock 7 "$AGENTS_LOCK" -w "$((PATIENCE_MS / 1000 + 1))" ||
            die "$EXIT_TRY_LATER" "the agents of a supervisor that was killed still run on $ROOT: try again later"
    fi
    read_process "$$"
    SUPERVISOR_START=$START
    printf -v SUPERVISOR_SINCE '%(%s)T' -1
    exec 6<> <(:)
    trap '' PIPE
    trap 'STOPPING=SIGTERM' TERM
    trap 'STOPPING=SIGINT' INT
    trap 'STOPPING=SIGHUP' HUP
    trap end_agents EXIT
}

keep_all_running() {
    local name
    for name in "${NAMES[@]}"; do
        STATE[$name]=waiting DUE_MS[$name]=0 WAIT_MS[$name]=$BACKOFF_MS SINCE[$name]=$SUPERVISOR_SINCE
    done
    while [[ -z $STOPPING ]]; do
        read_uptime_ms
        for name in "${NAMES[@]}"; do
            tend "$name"
        done
        [[ -z $DIRTY ]] || write_state
        listen
    done
}

# All that may keep a supervisor from starting is found here, before anything is stopped or started.
prepare_all() {
    prepare_root
    load_agents
    [[ -n $DEMO ]] || ensure_venv ''
    load_hive
}

supervise() {
    [[ -n ${ROOT-} ]] || choose_root
    prepare_all
    cd -- "$ROOT"
    become_the_supervisor
    report "supervising on $ROOT: ${NAMES[*]}"
    keep_all_running
    report "$STOPPING: ending all agents"
    end_agents
    report "stopped"
}

# What 'demo' starts: the governor and the hive, on the demo's own root, by the environment that runs the demo.
supervise_demo() {
    DEMO=yes
    choose_root
    supervise
}

supervise_in_background() {
    choose_root
    BACKGROUND=yes
    supervise
}

# --- start, stop, restart, status, logs ---------------------------------------------------------------------------

# Sets PID and UP_SINCE of the supervisor that holds the lock; fails if none does, or if it is only about to be up.
find_supervisor() {
    local name start PARENT START
    is_locked "$SUPERVISOR_LOCK" && [[ -r $STATE_FILE ]] || return 1
    IFS=$'\t' read -r name PID start UP_SINCE <"$STATE_FILE" || return 1
    [[ $name == neo_light_fix && $PID =~ ^[0-9]+$ ]] && read_process "$PID" && [[ $START == "$start" ]]
}

start_supervisor() {
    choose_root
    prepare_all
    launch_supervisor
}

launch_supervisor() {
    local child reader pipe=/dev/null code=0 before=0
    ! is_locked "$SUPERVISOR_LOCK" ||
        die "$EXIT_TRY_LATER" "a supervisor runs on $ROOT already: 'neo_light_fix.sh status' shows it"
    [[ ! -e $OWN_LOG || (! -d $OWN_LOG && -w $OWN_LOG) ]] ||
        die "$EXIT_PERMANENT" "cannot write to $OWN_LOG: let this user write there, or move away what is in its place"
    [[ ! -f $OWN_LOG ]] || before=$(wc -c <"$OWN_LOG") || before=0
    [[ ! -p $OWN_LOG ]] || pipe=$OWN_LOG
    exec {reader}<>"$pipe" # a FIFO that nobody reads could not be opened for writing
    setsid "$BASH" -p -- "$SCRIPT" _background </dev/null >/dev/null 2>>"$OWN_LOG" {reader}<&- &
    child=$!
    until find_supervisor && [[ $PID == "$child" ]]; do
        if ! is_my_child "$child"; then
            wait "$child" || code=$?
            [[ ! -f $OWN_LOG ]] || tail -c "+$((before + 1))" -- "$OWN_LOG" >&2
            die "$((code ? code : EXIT_TRY_LATER))" "the supervisor did not start: see above"
        fi
        sleep 0.1
    done
    note "the supervisor runs, pid $child; it writes to $OWN_LOG, its agents to $ROOT/logs/NAME.log ('neo_light_fix.sh\
 logs' follows them, 'neo_light_fix.sh status' shows how they are)"
    # Whoever reads this is still here; the governor's log, where it says the same, may not be looked at for hours.
    "$VENV/bin/python" -I -m capital_governor show-config >/dev/null ||
        note "so the governor does not govern; all other agents run. Put the setting right, then 'neo_light_fix.sh\
 restart'"
}

# Returns when neither a supervisor nor any of its agents is left.
await_the_end() {
    local deadline
    read_uptime_ms
    deadline=$((NOW_MS + PATIENCE_MS + 5000))
    while is_locked "$SUPERVISOR_LOCK" || is_locked "$AGENTS_LOCK"; do
        read_uptime_ms
        ((NOW_MS < deadline)) ||
            die "$EXIT_TRY_LATER" "not all has ended yet on $ROOT: 'neo_light_fix.sh status' shows more"
        sleep 0.1
    done
}

stop_supervisor() {
    choose_root
    end_supervisor
}

end_supervisor() {
    if find_supervisor; then
        kill -TERM "$PID" 2>/dev/null || : # it has just ended
        await_the_end
        note "stopped"
    elif is_locked "$SUPERVISOR_LOCK"; then
        die "$EXIT_TRY_LATER" "the supervisor on $ROOT is just starting: try again in a moment"
    elif is_locked "$AGENTS_LOCK"; then
        note "the supervisor was killed, its agents are ending"
        await_the_end
        note "stopped"
    else
        note "no supervisor runs on $ROOT"
    fi
}

restart_supervisor() {
    choose_root
    prepare_all
    end_supervisor
    launch_supervisor
}

show_agent() {
    local name=$1 state=$2 pid=$3 since=$4 due=$5 code=$6 now
    printf -v now '%(%s)T' -1
    case $state in
        running) printf '%-24s running, pid %s, since %(%F %T UTC)T\n' "$name" "${pid/#-/not known yet}" "$since" ;;
        waiting)
            [[ $due != - ]] || due=$now
            due=$((due > now ? due - now : 0))
            printf '%-24s restarting in %d s, ended with exit code %s\n' "$name" "$due" "$code"
            ;;
        gave-up) printf '%-24s gave up with exit code %s at %(%F %T UTC)T, see its log\n' "$name" "$code" "$since" ;;
        *) printf '%-24s stopped\n' "$name" ;;
    esac
}

# Standard output, for it is what was asked for.
show_status() {
    local name state pid since due code status=0
    local -x TZ=UTC0 # as in all other output
    choose_root
    if find_supervisor; then
        printf '%-24s running, pid %s, since %(%F %T UTC)T\n' supervisor "$PID" "$UP_SINCE"
        while IFS=$'\t' read -r name state pid since due code; do
            [[ $name == neo_light_fix ]] || show_agent "$name" "$state" "$pid" "$since" "$due" "$code"
        done <"$STATE_FILE"
    else
        status=$EXIT_NOT_RUNNING
        load_agents
        ! can_ask_program || load_hive
        printf '%-24s not running\n' supervisor
        for name in "${NAMES[@]}"; do
            show_agent "$name" stopped - 0 - -
        done
        ! is_locked "$AGENTS_LOCK" || note "the supervisor was killed, some of its agents are still ending"
    fi
    show_governor
    exit "$status" # a return would count as a failure that nobody foresaw
}

# Its exit code is about the governor, and this command's about the supervisor.
show_governor() {
    printf '\n'
    if venv_is_ready ''; then
        "$VENV/bin/python" -I -m capital_governor status || :
    else
        note "the environment is not ready, so the governor cannot be asked: 'neo_light_fix.sh start' makes it"
    fi
}

follow_logs() {
    local wanted=$1 name
    local -a files=()
    choose_root
    load_agents
    ! can_ask_program || load_hive
    for name in "${NAMES[@]}"; do
        if [[ -z $wanted || $wanted == "$name" ]]; then
            files+=("${LOG[$name]}")
        fi
    done
    if [[ $wanted == neo_light_fix || (-z $wanted && -e $OWN_LOG) ]]; then
        files+=("$OWN_LOG")
    fi
    ((${#files[@]})) || die "$EXIT_USAGE" "no agent is called $wanted: there are ${NAMES[*]} neo_light_fix"
    exec tail -n 20 -F -- "${files[@]}"
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
  restart                    stop, then start; tries again what was given up
  status                     the supervisor, each agent, and the governor's own report
  logs [NAME]                follow the log of NAME, or all logs
  run  [OPTION...]           decide and publish at every interval, until stopped
  once [OPTION...]           one cycle, then exit
  hive [OPTION...]           serve the metrics itself, where there is no dashboard
  demo [OPTION...]           see it govern: a simulated fleet in .demo, nothing real is touched
  test [PYTEST-ARGUMENT...]  format, lint, types, imports, shell, tests
  test --coverage            the same, and which lines the tests reach; slower
  test --bench               only the benchmarks
  test --soak MINUTES        the real thing among faults, then a table; --seed N has others
  help                       this text

Options go to the program unchanged: 'neo_light_fix.sh once --help' lists them, and
'.venv/bin/capital-governor --help' lists the program's other commands.

From the environment (seconds may have up to three decimals):
NEOLIGHT_ROOT                   the folder with state/, runtime/, logs/ and .env; unset: the folder of this script
NEO_LIGHT_BACKOFF_SECONDS       2; the first wait before an agent is started again; doubles with each
NEO_LIGHT_BACKOFF_MAX_SECONDS   60; the longest wait
NEO_LIGHT_HEALTHY_SECONDS       60; an agent that ran as long as this is waited for as if it were the first time
NEO_LIGHT_STOP_SECONDS          10; how long an agent may take to end before it is killed
NEO_LIGHT_LOG_MAX_BYTES         10485760; a log that would grow beyond becomes NAME.log.1
NEO_LIGHT_LOG_KEEP              5; how many such logs stay

Exit codes  2 wrong usage; 3 status: no supervisor is running; 75 not now (another supervisor, no network), try again;
            78 a person must mend something: no suitable Python, no right to write, a wrong setting, a faulty .agents.sh
HELP
}

main() {
    case ${1-} in
        '') supervise ;;
        run | once | hive) start_program "$@" ;;
        demo) show_demo "${@:2}" ;;
        test) forget_python_settings && test_project "${@:2}" ;;
        logs) take_no_more_than 1 "$@" && follow_logs "${2-}" ;;
        start) take_no_more_than 0 "$@" && start_supervisor ;;
        stop) take_no_more_than 0 "$@" && stop_supervisor ;;
        restart) take_no_more_than 0 "$@" && restart_supervisor ;;
        status) take_no_more_than 0 "$@" && show_status ;;
        help | -h | --help) print_help ;;
        _background) supervise_in_background ;; # what 'start' starts
        _demo) supervise_demo ;;                # what 'demo' starts
        *)
            print_help >&2
            die "$EXIT_USAGE" "unknown command: $1"
            ;;
    esac
}

# On one line, so that bash reads no further: the file may be another one when main ends.
main "$@"; exit
