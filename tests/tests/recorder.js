// Runs in a browser under test before the page's own scripts: writes down what crosses the WebSocket, and keeps hold of the
// peer connections so that the test can ask the browser itself, not the page, what it sends and receives.

(() => {
  const recorder = { frames: [], connections: [], microphones: [], socket: null, closedAt: 0, holdOn: false, deaf: false };
  Object.defineProperty(window, "recorder", { value: recorder });

  // A slow network, at will: while `deaf`, what the server says lies waiting.
  const late = [];
  recorder.hear = () => {
    recorder.deaf = false;
    for (const deliver of late.splice(0)) deliver();
  };

  // A frame as if the server had sent it, and the call that it would be about.
  recorder.tell = (message) => recorder.socket.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  recorder.call = () => recorder.frames.map((frame) => JSON.parse(frame.data)).findLast((message) => message.t === "matched").call;

  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      recorder.socket = this;
      this.addEventListener("message", (event) => {
        if (recorder.deaf) {
          event.stopImmediatePropagation();
          late.push(() => this.dispatchEvent(new MessageEvent("message", { data: event.data })));
          return;
        }
        recorder.frames.push({ at: Date.now(), to: "page", data: event.data });
      });
    }

    send(data) {
      recorder.frames.push({ at: Date.now(), to: "server", data });
      super.send(data);
    }
  };

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...given) {
      super(...given);
      recorder.connections.push(this);
    }

    // `holdOn` makes a modified client of this page: one that goes on sending and listening after the call.
    close() {
      if (recorder.holdOn) return;
      recorder.closedAt = Date.now();
      super.close();
    }
  };

  const ask = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = async function (wanted) {
    const stream = await ask.call(this, wanted);
    recorder.microphones.push(...stream.getTracks());
    return stream;
  };

  const stop = MediaStreamTrack.prototype.stop;
  MediaStreamTrack.prototype.stop = function () {
    if (!recorder.holdOn) stop.call(this);
  };

  recorder.media = async () => {
    const stats = [...(await recorder.connections.at(-1).getStats()).values()];
    const byId = (id) => stats.find((s) => s.id === id);
    const transport = stats.find((s) => s.type === "transport");
    // Firefox has no transport; it marks the chosen pair itself.
    const pair = byId(transport?.selectedCandidatePairId) ?? stats.find((s) => s.type === "candidate-pair" && s.selected);
    const inbound = stats.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
    const outbound = stats.find((s) => s.type === "outbound-rtp" && s.kind === "audio");
    return {
      local: byId(pair?.localCandidateId)?.candidateType ?? "none",
      relayProtocol: byId(pair?.localCandidateId)?.relayProtocol ?? "none",
      remote: byId(pair?.remoteCandidateId)?.candidateType ?? "none",
      sent: outbound?.packetsSent ?? 0,
      received: inbound?.packetsReceived ?? 0,
      energy: inbound?.totalAudioEnergy ?? 0,
      lastReceivedAt: inbound?.lastPacketReceivedTimestamp ?? 0,
      cipher: transport?.srtpCipher ?? "none",
    };
  };
})();
