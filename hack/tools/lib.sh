# shellcheck shell=bash
# Shared by hack/verify.sh and hack/update.sh, which source it from the root of the repository.

# tool NAME prints the path of a tool of hack/tools/go.mod. go builds it on first use and keeps it in its cache.
tool() {
	go -C hack/tools tool -n "$1"
}

# modules prints the directory of every Go module of the repository.
modules() {
	find . -name .git -prune -o -name go.mod -printf '%h\n' | sort
}

# code_modules prints those that hold Go code of ours: the others only pin versions.
code_modules() {
	local module
	for module in . cmd/kubectl-claimdir hack hack/operator; do
		if [ -f "$module/go.mod" ]; then echo "$module"; fi
	done
}

# for_module MODULE COMMAND... runs a command with the module's settings of go. The plugin is compiled as it is released, so that
# checks, tests and releases compile kubectl's libraries once: that takes minutes.
for_module() {
	local module=$1
	shift
	if [ "$module" = cmd/kubectl-claimdir ]; then
		GOFLAGS="$(go env GOFLAGS) -trimpath" CGO_ENABLED=0 "$@"
	else
		"$@"
	fi
}

# go_files prints every Go file of the repository.
go_files() {
	find . -name .git -prune -o -name '*.go' -print
}

# shell_scripts prints every shell script of the repository.
shell_scripts() {
	find . -name .git -prune -o -name '*.sh' -print
	find . \( -name .git -o -name bin \) -prune -o -type f ! -name '*.*' -exec grep -lE '^#!.*sh$' {} +
}

# need COMMAND PACKAGE installs a Debian package where a command is missing and we may, and else says what to install.
need() {
	if command -v "$1" >/dev/null; then return; fi
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $2"
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$2"
		return
	fi
	echo "$1 is missing; install it: sudo apt-get install $2"
	return 1
}

# failed_tests LOG prints the names of what failed in the output of go test and of our scripts, one a line. Of tests it names
# the innermost, as each of those above fails with them.
failed_tests() {
	{
		sed -nE 's/^ *--- FAIL: ([^ ]+).*/\1/p' "$1" | awk '{ name[$0] } END {
			for (n in name) { for (p = n; sub("/[^/]*$", "", p); ) outer[p] }
			for (n in name) if (!(n in outer)) print n
		}'
		sed -n 's/.*these tests failed: //p' "$1" | grep -oE '"[^"]+[^" ]"' | tr -d '"' || true # of a program in another one's test
		# A step of verify, a package that ended otherwise, a run of test-nfs.
		sed -nE 's/^([-a-z0-9]+) +FAILED, [0-9]+ s$/\1/p; s/^panic: (test timed out.*)/\1/p; s/^FAIL\t(.*) \[(.*)\]$/\1: \2/p' "$1"
		sed -nE 's/^([^ ]+), ([^ ]+): (exit code|skipped|no tests|did not|left behind)(.*), [0-9.]+ s$/\1, \2: \3\4/p' "$1"
	} | sort -u
}

# The steps of one run, its failures and what mends them.
failed=()
notes=()
wanted=("$@")

# want NAME: is this step asked for? Without arguments all are.
want() {
	local name
	if [ ${#wanted[@]} = 0 ]; then return 0; fi
	for name in "${wanted[@]}"; do
		if [ "$name" = "$1" ]; then return 0; fi
	done
	return 1
}

# step NAME MEND COMMAND...: runs the command, prints one line with its time, and its output if it failed. A command that
# exits 77 could not be run here: its last line says why.
step() {
	local name=$1 mend=$2 log start status took
	shift 2
	if ! want "$name"; then return 0; fi
	log=$(mktemp)
	start=$SECONDS
	printf '%-14s' "$name" # at once: some steps take minutes the first time
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	took=$((SECONDS - start))
	case $status in
	0) echo "ok, $took s" ;;
	77)
		echo "NOT RUN: $(tail -n 1 "$log")"
		notes+=("$name NOT RUN: $(tail -n 1 "$log")")
		;;
	*)
		echo "FAILED, $took s"
		sed -n '1,150s/^/    /p; 151s/.*/    (and so on)/p' "$log"
		echo "    -> $mend"
		failed+=("$name: $mend")
		;;
	esac
	rm -f "$log"
}

# known NAME...: refuses arguments that no step has.
known() {
	local name
	for name in ${wanted[@]+"${wanted[@]}"}; do
		case " $* " in
		*" $name "*) ;;
		*)
			echo "no step is called $name; there are: $*" >&2
			exit 2
			;;
		esac
	done
}

# verdict WHAT: one line for the whole run, and the exit code.
verdict() {
	local line
	for line in ${notes[@]+"${notes[@]}"}; do echo "note: $line"; done
	if [ ${#failed[@]} = 0 ]; then
		echo "$1: all well, $SECONDS s"
		return 0
	fi
	echo "$1: ${#failed[@]} failed, $SECONDS s"
	for line in "${failed[@]}"; do echo "  $line"; done
	return 1
}
