#!/usr/bin/env bash
# Real programs with all functions counted, by ptracer, bpftrace and perf, side by side: a line for each run, with how
# many seconds it took; TURNS (3) of each in turn, of bpftrace and perf, which take minutes to take their probes away, one.
# Needs root, bc, sqlite3, python3, bpftrace and perf; what is not there is left out. What takes longer than LIMIT (600)
# seconds is ended, says so, and is not tried again.
#
#   make build; bench/programs.sh > runs; bench/programs.sh --table < runs
set -uo pipefail
cd "$(dirname "$0")/.."

table() { # medians, and the least and the most
	sort -t$'\t' -k1,1 -k2,2 -k3,3n | awk -F'\t' '
		function out() { if (n) printf n > 1 ? "%s\t%s\t%s (%s-%s)\n" : "%s\t%s\t%s\n", program, way, v[int((n + 1) / 2)], v[1], v[n] }
		$1 != program || $2 != way { out(); n = 0; program = $1; way = $2 }
		{ v[++n] = $3 }
		END { out() }'
}
[ "${1:-}" = --table ] && { table; exit; }

turns=${TURNS:-3} limit=${LIMIT:-600} work=$(mktemp -d)
trap 'rm -rf "$work"; kill $(jobs -p) 2>/dev/null' EXIT
export BPFTRACE_MAX_PROBES=100000 BPFTRACE_MAX_BPF_PROGS=100000 BPFTRACE_MAP_KEYS_MAX=100000
ulimit -n "$(ulimit -Hn)"
ptracer=$PWD/ptracer
declare -A over # what is not tried again
has() { command -v "$1" >/dev/null; }

sql() { # rows
	echo "with recursive n(i) as (select 1 union all select i+1 from n where i < $1)
		select count(*) from (select i, i*7%1000 as k, 'row ' || i as t from n) where t like '%7%';
	create table a(i integer primary key, k int, t text);
	with recursive n(i) as (select 1 union all select i+1 from n where i < $1)
		insert into a select i, i*7%1000, 'row ' || i from n;
	create index ak on a(k);
	select sum(x.i), count(*) from a x join a y on x.i = y.k;"
}
for n in 1 4000 100000; do sql $n >"$work/$n.sql"; done
python() { # rounds
	echo "
import json, random
random.seed(1)
for r in range($1):
    d = {str(random.random()): [random.random() for _ in range(10)] for _ in range(100)}
    s = json.dumps(d)
    assert json.loads(s) == d
    sorted(d, key=lambda k: d[k])"
}
for n in 0 10 500; do python $n >"$work/$n.py"; done

# run PROGRAM WAY COMMAND... times a command.
run() {
	local program=$1 way=$2 begin status took
	shift 2
	[ -n "${over[$program $way]:-}" ] && return
	begin=$(date +%s.%N)
	timeout -k 5 "$limit" "$@" </dev/null >"$work/out" 2>"$work/err"
	status=$?
	took=$(echo "$(date +%s.%N) - $begin" | bc)
	if [ $status -eq 124 ]; then
		over["$program $way"]=1
		printf '%s\t%s\tover %s\n' "$program" "$way" "$limit"
	elif [ $status -ne 0 ]; then
		printf '%s\t%s\tfails: %s\n' "$program" "$way" "$(tail -1 "$work/err" | cut -c1-100)"
	else
		printf '%s\t%s\t%.2f\n' "$program" "$way" "$took"
	fi
	return $status
}

# ours PROGRAM BINARY COMMAND... runs a command with all functions counted by ptracer.
ours() {
	local program=$1 module
	module=$(basename "$2")
	shift 2
	run "$program" "1 alone" "$@"
	run "$program" "2 ptracer" "$ptracer" count -o "$work/counts" "$module:*" -- "$@"
	run "$program" "3 ptracer, uprobes" "$ptracer" count --where kernel -o "$work/counts" "$module:*" -- "$@"
}

# others does it by bpftrace and perf; uprobes are the functions for bpftrace, events those for perf.
others() {
	local program=$1
	shift
	[ -n "$uprobes" ] && run "$program" "4 bpftrace" bpftrace -o "$work/counts" -e "$uprobes { @[probe] = count(); }" -c "$*"
	[ -n "$events" ] && run "$program" "5 perf stat" perf stat -o "$work/counts" -e "$events" -- "$@"
}

# probesOf BINARY has perf make its probes, and sets uprobes and events; bpftrace begins nothing if the kernel refuses
# one function, as those that begin with a locked instruction.
probesOf() {
	uprobes= events=
	has bpftrace && uprobes=$(bpftrace -l "uprobe:$1:*" | grep -v MemoryBarrier | paste -sd,)
	has perf || return
	perf probe -q -d 'probe_*:*' 2>/dev/null
	perf probe -q --max-probes=100000 -x "$1" -f -a '*' 2>/dev/null &&
		events=$(perf probe -l 2>/dev/null | awk '{ sub(/:.*/, "", $1); print $1 ":*"; exit }')
}

# fileOf COMMAND LIBRARY is the file of a library that a command loads, or of the command.
fileOf() {
	local lib
	lib=$(ldd "$1" | awk -v l="$2" 'index($1, l) { print $3 }')
	readlink -f "${lib:-$1}"
}

# programs COMMAND LIBRARY ARGUMENTS SIZES SIZES: in the arguments @ stands for the size; the second are for the others.
programs() {
	local command lib n
	command=$(command -v "$1") || return
	lib=$(fileOf "$command" "$2")
	for _ in $(seq "$turns"); do
		for n in $4; do ours "$1 $n" "$lib" "$command" ${3//@/$n}; done
	done
	probesOf "$lib"
	for n in $5; do others "$1 $n" "$command" ${3//@/$n}; done
	perf probe -q -d 'probe_*:*' 2>/dev/null
}

PATH=/usr/bin:$PATH
[ "${ONLY:-sqlite3}" = sqlite3 ] && programs sqlite3 libsqlite3 "-batch -init $work/@.sql :memory: .quit" "1 4000 100000" "1 4000"
[ "${ONLY:-python3}" = python3 ] && programs python3 libpython "$work/@.py" "0 10 500" "0 10"
exit 0
