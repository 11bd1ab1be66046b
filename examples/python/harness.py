#!/usr/bin/python3
"""Two things that a test harness does with a running program:

harness.py watch PID FUNCTION [N]        show N (10) calls, with their first argument
harness.py fail PID FUNCTION VALUE [N]   have N (1) calls of a function return VALUE
"""

import sys

import grpc
import ptracer_pb2 as pb
from ptracer import Tracer

KIND = pb.Event.Kind


def watch(pid, function, n=10):
    with Tracer(int(pid)) as t:
        for other in t.others:
            print(f"shared with {other.name} (process {other.pid})")
        probe = t.probe(function, "TELL", args=1)
        for e in t.events():
            if e.kind != KIND.HIT:
                continue
            print(f"{e.pid}/{e.tid} {e.location}({e.args[0]:#x})")
            n -= 1
            if n == 0:
                break
        hits = t.ask("Hits", probe=probe).hits
        print(f"{hits} calls, {t.ask('Stats').missed} not told")


def fail(pid, function, value, n=1):
    """The result is changed where the function returns, while the thread stands
    there. A tracer that controls the process is in the way, and is named."""
    with Tracer(int(pid)) as t:
        probe = t.probe(function + "%return", "STOP")
        result = {"amd64": "rax", "arm64": "x0"}[t.isa]
        for e in t.events():
            if e.kind != KIND.STOPPED or e.probe != probe:
                continue
            was = t.get(e.tid)[result]
            t.set(e.tid, **{result: int(value, 0) % (1 << 64)})
            print(f"{e.location} = {was:#x}, made {value}")
            n -= 1
            if n == 0:
                t.ask("Unregister", probe=probe)
            t.ask("Resume", id=e.tid)
            if n == 0:
                return


def main(argv):
    commands = {"watch": watch, "fail": fail}
    if len(argv) < 4 or argv[1] not in commands:
        sys.exit(__doc__)
    numbers = {"watch": 4, "fail": 5}[argv[1]]
    args = argv[2:numbers] + [int(x) for x in argv[numbers:]]
    try:
        commands[argv[1]](*args)
    except grpc.RpcError as err:
        sys.exit(f"{argv[1]}: {err.details()}")


main(sys.argv)
