// What a browser's statistics say about a call: how good it is and which way it goes.

/** A partner's relay address whose first check overtook its candidate is called "prflx"; our relay admits no other address. */
const RELAYED = new Set(["relay", "prflx"]);

/** The candidate pair in use. Firefox has no transport in its statistics and marks the pair itself. */
function chosenPair(stats) {
  const all = [...stats.values()];
  return stats.get(all.find((s) => s.type === "transport")?.selectedCandidatePairId)
    ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
}

/** The local candidate of the chosen pair. */
export function chosenCandidate(stats) {
  return stats.get(chosenPair(stats)?.localCandidateId);
}

/** Whether the partner can learn this side's address, as far as the chosen pair tells. */
export function isHidden({ local, remote }) {
  return local === "relay" && RELAYED.has(remote);
}

/** Round trip and jitter in milliseconds, loss as a share of the last interval's packets, and the chosen candidate pair's types. */
export function summarise(stats, before) {
  const all = [...stats.values()];
  const chosen = chosenPair(stats);
  const inbound = all.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
  const report = all.find((s) => s.type === "remote-inbound-rtp" && s.kind === "audio");
  const totals = { received: inbound?.packetsReceived ?? 0, lost: inbound?.packetsLost ?? 0 };
  const lost = Math.max(0, totals.lost - before.lost);
  const expected = totals.received - before.received + lost;
  const quality = {
    rttMs: milliseconds(report?.roundTripTime ?? chosen?.currentRoundTripTime),
    jitterMs: milliseconds(inbound?.jitter),
    loss: expected > 0 ? lost / expected : null,
    local: stats.get(chosen?.localCandidateId)?.candidateType ?? null,
    remote: stats.get(chosen?.remoteCandidateId)?.candidateType ?? null,
  };
  return { quality: { ...quality, grade: grade(quality) }, totals };
}

/** "good" | "fair" | "poor": where conversation starts to suffer (ITU-T G.114 for delay, a few per cent for Opus with FEC). */
function grade({ rttMs, jitterMs, loss }) {
  if (rttMs > 400 || jitterMs > 60 || loss > 0.08) return "poor";
  if (rttMs > 250 || jitterMs > 30 || loss > 0.02) return "fair";
  return "good";
}

function milliseconds(seconds) {
  return typeof seconds === "number" ? Math.round(seconds * 1000) : null;
}
