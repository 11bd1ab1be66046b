"""A client of ptracer's control protocol: what a test harness needs of it.

The messages come from the schema, by protoc (see README.md); the calls are made
from the service's description in there, so that no plugin of gRPC is needed.
"""

import os

import grpc
import ptracer_pb2 as pb
from google.protobuf import descriptor_pb2

PROTOCOL = 1  # what this file knows


def default_socket():
    """Where a user's server is, as ptracer itself has it."""
    if os.environ.get("PTRACER_SOCKET"):
        return os.environ["PTRACER_SOCKET"]
    for folder in os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}":
        if folder and os.path.isdir(folder) and os.stat(folder).st_uid == os.getuid():
            return folder + "/ptracer/socket"
    return f"/tmp/ptracer-{os.getuid()}/socket"


class Arbiter:
    """The service: each of its calls is a method that takes the request's fields."""

    def __init__(self, socket=None):
        self.channel = grpc.insecure_channel("unix:" + (socket or default_socket()))
        service = pb.DESCRIPTOR.services_by_name["Arbiter"]
        for method in service.methods:
            setattr(self, method.name, self._call(service.full_name, method))
        server = self.Hello(client="python example", protocol=PROTOCOL)
        if server.protocol < PROTOCOL or server.least > PROTOCOL:
            raise RuntimeError(f"the server (version {server.version}) does not speak protocol {PROTOCOL}")

    def _call(self, service, method):
        described = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(described)
        make = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        request, answer = getattr(pb, method.input_type.name), getattr(pb, method.output_type.name)
        call = make(f"/{service}/{method.name}", request.SerializeToString, answer.FromString)
        return lambda **fields: call(request(**fields))


class Tracer:
    """A tracer of one process, beside others. Leaving it takes its probes out."""

    def __init__(self, pid, name="python", socket=None, **options):
        self.pid, self.arbiter = pid, Arbiter(socket)
        self.stream = self.arbiter.Join(pid=pid, name=name, **options)
        joined = next(self.stream).joined  # the first thing that is told
        self.token, self.isa, self.others = joined.token, joined.isa, joined.others
        self.registers = list(joined.registers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.cancel()
        self.arbiter.channel.close()

    def ask(self, call, **fields):
        return getattr(self.arbiter, call)(token=self.token, **fields)

    def probe(self, location, action="COUNT", **fields):
        return self.ask("Register", location=location, action=action, **fields).probe

    def events(self):
        """What happens, until the process ends."""
        for told in self.stream:
            yield from told.events
            if told.ended:
                return

    def get(self, tid):
        """A stopped task's registers, by name."""
        return dict(zip(self.registers, self.ask("Registers", id=tid).values))

    def set(self, tid, **changed):
        """Changes registers: nobody else does as long as we hold the task."""
        values = {**self.get(tid), **changed}
        self.ask("SetRegisters", tid=tid, values=[values[name] for name in self.registers])
