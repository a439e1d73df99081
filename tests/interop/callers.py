"""Callers that are not ours: aiortc (ICE and TURN by aioice), each in a network namespace of its own if it is told one.

Reads a plan from the file it is given, one JSON object, and writes one line of JSON for each of its calls, then `finished`:

    {"relay_wait_secs": 2, "at_once": 4,
     "callers": {"a": {"namespace": "/run/netns/x" or null, "names": {"relay.test": "192.0.2.10"}}, "b": …},
     "calls": [{"id": 1, "url": "wss://relay.test/v1/ws", "sides": ["a", "b"], "wanted": "direct",
                "tokens": [["…", "…"], …]}]}

`names` are what a name server would say there. A call is tried once for each pair of tokens until it is as wanted
("direct" or "relayed"). Authorities beyond the system's: SSL_CERT_FILE, as for every user of OpenSSL.
"""

import asyncio
import array
import concurrent.futures
import ctypes
import fractions
import json
import math
import multiprocessing
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time

import av
import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCIceTransportPolicy
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
# How long anything that should happen at once may take on a busy machine, in seconds.
PATIENCE = 60
# A better transport than the first that answered gets this much longer, in seconds.
BETTER_WAIT = 3
RATE = 48000
SAMPLES = RATE // 50
# Twenty milliseconds each; a quarter of a second of tone in each direction.
FRAMES_HEARD = 12
LOUD = 1000
BINDING = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes"


class Tone(MediaStreamTrack):
    """440 Hz in real time."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.sent = 0
        self.began = time.monotonic()

    async def recv(self):
        await asyncio.sleep(self.began + self.sent / RATE - time.monotonic())
        if self.readyState != "live":
            raise MediaStreamError
        angle = 2 * math.pi * 440 / RATE
        samples = (int(12000 * math.sin(angle * (self.sent + at))) for at in range(SAMPLES))
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(array.array("h", samples).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, fractions.Fraction(1, RATE)
        self.sent += SAMPLES
        return frame


async def hear(track, enough):
    """Counts what is loud; tells when it was enough."""
    frames = 0
    while frames < FRAMES_HEARD:
        plane = bytes((await track.recv()).planes[0])
        frames += max(array.array("h", plane[: len(plane) // 2 * 2])) > LOUD
    enough.set()


async def udp_answers(host, port):
    loop = asyncio.get_running_loop()
    answered = loop.create_future()

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            if data[8:20] == BINDING[8:20] and not answered.done():
                answered.set_result(None)

    transport, _ = await loop.create_datagram_endpoint(Asking, remote_addr=(host, port))
    try:
        while not answered.done():
            transport.sendto(BINDING)
            await asyncio.wait([answered], timeout=0.3)
    finally:
        transport.close()


async def stream_answers(host, port, context):
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(BINDING)
        await reader.readexactly(32 if "." in writer.get_extra_info("peername")[0] else 44)
    finally:
        writer.close()


def answers(url):
    scheme, host, port, transport = re.fullmatch(r"(turns?):([^:]+):(\d+)\?transport=(udp|tcp)", url).groups()
    if transport == "udp":
        return udp_answers(host, int(port))
    return stream_answers(host, int(port), ssl.create_default_context() if scheme == "turns" else None)


def transport_of(url):
    return "tls" if url.startswith("turns:") else url.rsplit("=", 1)[1]


async def best(urls):
    """The best URL that gets through: UDP before TCP before TLS. aioice takes one server, so this chooses, as browsers do."""
    urls = sorted(urls, key=lambda url: ["udp", "tcp", "tls"].index(transport_of(url)))
    asking = [asyncio.ensure_future(answers(url)) for url in urls]
    through = lambda: [url for url, task in zip(urls, asking) if task.done() and not task.exception()]
    try:
        deadline = time.monotonic() + PATIENCE
        while urls[0] not in through() and time.monotonic() < deadline:
            if through():
                deadline = min(deadline, time.monotonic() + BETTER_WAIT)
            waiting = [task for task in asking if not task.done()]
            if not waiting:
                break
            await asyncio.wait(waiting, timeout=max(0, deadline - time.monotonic()), return_when=asyncio.FIRST_COMPLETED)
        if not through():
            raise RuntimeError("no TURN server gets through")
        return through()[0]
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


class Caller:
    """One side of one call."""

    def __init__(self, socket, chosen, relay_wait):
        self.socket, self.chosen, self.relay_wait = socket, chosen, relay_wait
        self.request = 0
        self.heard = asyncio.Event()
        self.partner_heard = asyncio.Event()
        self.tasks = []
        self.connection = None

    async def send(self, t, **fields):
        self.request += 1
        await self.socket.send(json.dumps({"t": t, "q": self.request, **fields}))

    async def next(self, *wanted):
        while True:
            message = json.loads(await self.socket.recv())
            if message["t"] in ("error", "ended") and message["t"] not in wanted:
                raise RuntimeError(f"{message['t']}: {message.get('code') or message.get('why')} {message.get('msg', '')}")
            if message["t"] in wanted:
                return message

    def prepare(self, matched):
        ice = matched["ice"]
        server = ice["servers"][0]
        servers = [RTCIceServer(self.chosen, server["username"], server["credential"])]
        hidden = ice["policy"] == "relay"
        if not hidden and transport_of(self.chosen) == "udp":
            servers.append(RTCIceServer(self.chosen.replace("turn:", "stun:").split("?")[0]))
        policy = RTCIceTransportPolicy.RELAY if hidden else RTCIceTransportPolicy.ALL
        bundle = RTCBundlePolicy.MAX_BUNDLE
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=servers, iceTransportPolicy=policy, bundlePolicy=bundle)
        )
        self.connection.addTrack(Tone())
        self.relay_wait = 0 if hidden else self.relay_wait

        @self.connection.on("track")
        def _(track):
            self.tasks.append(asyncio.ensure_future(hear(track, self.heard)))

        @self.connection.on("connectionstatechange")
        async def _():
            if self.connection.connectionState == "connected":
                await self.send("ice", call=self.call, s="connected")

    async def describe(self, kind):
        make = self.connection.createOffer if kind == "offer" else self.connection.createAnswer
        await self.connection.setLocalDescription(await make())
        lines = self.connection.localDescription.sdp.splitlines()
        hidden = ("a=candidate:", "a=end-of-candidates")
        sdp = "".join(line + "\r\n" for line in lines if not line.startswith(hidden))
        await self.send(kind, call=self.call, gen=self.generation, sdp=sdp)
        gatherer = self.connection.getTransceivers()[0].sender.transport.transport.iceGatherer
        for candidate in gatherer.getLocalCandidates():
            await self.send("cand", call=self.call, gen=self.generation, c="candidate:" + candidate_to_sdp(candidate), mid="0")

    async def candidate(self, line):
        """Relay candidates wait, so that a direct path which needs a second attempt is not outrun by one that never does."""
        if line is None:
            return
        candidate = candidate_from_sdp(line.removeprefix("candidate:"))
        candidate.sdpMid = "0"
        if candidate.type == "relay" and self.relay_wait:
            await asyncio.sleep(self.relay_wait)
        if self.connection.iceConnectionState in ("new", "checking"):
            await self.connection.addIceCandidate(candidate)

    async def negotiate(self, matched):
        offers, early = matched["role"] == "offerer", []
        if offers:
            await self.describe("offer")
        while True:
            message = await self.next("offer", "answer", "cand", "text", "ended")
            match message["t"]:
                case "offer" | "answer" as kind:
                    await self.connection.setRemoteDescription(RTCSessionDescription(message["sdp"], kind))
                    if kind == "offer":
                        await self.describe("answer")
                    for line in early:
                        self.tasks.append(asyncio.ensure_future(self.candidate(line)))
                    early = None
                case "cand" if early is not None:
                    early.append(message.get("c"))
                case "cand":
                    self.tasks.append(asyncio.ensure_future(self.candidate(message.get("c"))))
                case "text":
                    self.partner_heard.set()
                case "ended" if self.heard.is_set() and self.partner_heard.is_set():
                    return
                case "ended":
                    raise RuntimeError(f"the call ended: {message.get('why')}")

    async def talk(self, offers):
        """Whoever offered hangs up, once both have heard the other."""
        await self.heard.wait()
        await self.send("text", call=self.call, k=1, b="heard")
        await self.partner_heard.wait()
        pair = self.connection.getTransceivers()[0].sender.transport.transport._connection._nominated[1]
        self.types = [pair.local_candidate.type, pair.remote_candidate.type]
        if offers:
            await self.send("hangup", call=self.call, why="hangup")

    async def one_call(self):
        await self.send("queue")
        matched = await self.next("matched")
        self.call, self.generation = matched["call"], matched.get("gen", 1)
        await self.send("ack", call=self.call)
        self.prepare(matched)
        both = [self.negotiate(matched), self.talk(matched["role"] == "offerer")]
        self.tasks += map(asyncio.ensure_future, both)
        try:
            await asyncio.gather(*self.tasks)
        finally:
            for task in self.tasks:
                task.cancel()
            await self.connection.close()
        path = "relayed" if "relay" in self.types else "direct"
        return {"path": path, "types": self.types, "transport": transport_of(self.chosen), "policy": matched["ice"]["policy"]}


async def place_call(url, token, relay_wait, chosen):
    context = ssl.create_default_context() if url.startswith("wss:") else None
    async with websockets.connect(
        url, subprotocols=["pair.v1"], ssl=context, proxy=None, open_timeout=PATIENCE, ping_interval=None
    ) as connection:
        caller = Caller(connection, None, relay_wait)
        await caller.send("hello", v=[1], token=token)
        welcome = await caller.next("welcome")
        urls = tuple(welcome["ice"]["servers"][0]["urls"])
        if urls not in chosen:
            chosen[urls] = await best(urls)
        caller.chosen = chosen[urls]
        return await caller.one_call()


def enter(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(os.open(namespace, os.O_RDONLY), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def live(place, orders, relay_wait):
    """The life of one caller: a process of its own, in its own network, one call after another."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if place["namespace"]:
        enter(place["namespace"])
    names, ask = place["names"], socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **named: ask(names.get(host, host), *rest, **named)
    socket.gethostbyname = lambda host: names.get(host, host)
    chosen = {}
    while (order := orders.recv()) is not None:
        try:
            call = place_call(order["url"], order["token"], relay_wait, chosen)
            orders.send(asyncio.run(asyncio.wait_for(call, PATIENCE)))
        except Exception as error:
            orders.send({"error": f"{type(error).__name__}: {error}"})


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    fork = multiprocessing.get_context("fork")
    orders, busy = {}, {}
    for name, place in plan["callers"].items():
        orders[name], theirs = fork.Pipe()
        fork.Process(target=live, args=(place, theirs, plan["relay_wait_secs"]), daemon=True).start()
        busy[name] = threading.Lock()
    printing = threading.Lock()

    def attempt(call, tokens):
        for side, token in zip(call["sides"], tokens):
            orders[side].send({"url": call["url"], "token": token})
        return [orders[side].recv() for side in call["sides"]]

    def make(call):
        first, second = sorted(call["sides"])
        with busy[first], busy[second]:
            for tokens in call["tokens"]:
                sides = attempt(call, tokens)
                if all(side.get("path") == call["wanted"] for side in sides):
                    break
        with printing:
            print(json.dumps({"id": call["id"], "sides": sides}), flush=True)

    with concurrent.futures.ThreadPoolExecutor(plan["at_once"]) as pool:
        list(pool.map(make, plan["calls"]))
    print("finished", flush=True)


main()
