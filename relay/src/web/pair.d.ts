// Types of pair.js. Times are milliseconds, shares are 0..1.

export type State = "offline" | "connecting" | "idle" | "queued" | "matched" | "talking";
/** "refused" (the person said no) and "lost" (revoked or unplugged in mid-call) are states: one can still listen and type. */
export type Microphone = "off" | "asking" | "on" | "muted" | "refused" | "missing" | "lost";
/** Whether the partner can learn this side's address: decided by the candidate pair in use, "checking" until there is one. */
export type Path = "checking" | "hidden" | "shown";
export type Level = "A1" | "A2" | "B1" | "B2" | "C1" | "C2";
export type Gender = "f" | "m" | "x";

export interface Options {
  /** Where `pair.v1` is spoken; `/v1/ws` of the page's own server when left out. */
  url?: string;
  /** Called for each connection. A token is good for one `hello` and comes from the app's backend. */
  token: () => Promise<string>;
  /** What `getUserMedia` is asked for. */
  microphone?: MediaStreamConstraints;
}

export interface Criteria {
  /** Places in `welcome.topics`, at most five; none means any. */
  topics?: number[];
  topic_mode?: "prefer" | "require";
  /** Who to meet: at most what the token entitles to. */
  gender?: Gender[];
  /** Only where the token leaves the level to the person. */
  level?: Level;
  /** Largest distance in levels, 0..5. */
  max_dist?: number;
  /** Where a partner may be, as two capital letters; at most five, none means anywhere. */
  countries?: string[];
}

export interface Welcome {
  v: number;
  topics?: string[];
  policy?: { relay?: "always" | "may_direct"; direct?: boolean; text?: boolean; next?: boolean; acceptance?: boolean; report?: boolean };
  hb_ms?: number;
  [more: string]: unknown;
}

export interface Peer {
  /** Opaque to the server, signed by the partner's app: show it as text, never as markup or as an address to fetch. */
  card?: unknown;
  lvl?: Level;
  /** Those both sides chose. */
  topics?: number[];
}

/** `eta` is null when the server does not know. `stage` counts how often the search was widened. */
export interface Place {
  ahead: number;
  eta: { p50: number; p90: number } | null;
  stage: number;
  /** The one wish that, given up, would match now, with at least so many. */
  hint: { relax: "topics" | "level" | "gender" | "country"; wouldMatch: number } | null;
}
export type Category = "harassment" | "hate" | "sexual" | "spam" | "self_harm" | "minor_safety" | "other";
/** `undelivered`: the server refused it, as an `error` has said; the partner never saw it. */
export interface Text { from: "self" | "peer"; k: number; text: string; tag?: string; undelivered?: true }
export type Step =
  | "matched" | "awake" | "offer_passed" | "answer_passed" | "candidate_passed" | "candidate_dropped" | "first_voice" | "both_voices"
  | "connected" | "silence" | "heard_again" | "restarted";
export type Grade = "good" | "fair" | "poor";
export interface Quality {
  rttMs: number | null;
  jitterMs: number | null;
  /** Share of the last second's packets that were lost. */
  loss: number | null;
  grade: Grade;
  /** Types of the chosen candidate pair: "relay", "srflx", "prflx", "host". */
  local: string | null;
  remote: string | null;
  path: Path;
}

/** One side of the call as the server knows it; null is unknown, never guessed. */
export interface Side {
  /** Its stream on the way to the relay. Counts are those of the call; `lost` (percent), jitter and `silent` (percent) those of the last seconds. */
  up: {
    packets: number;
    missing: number;
    reordered: number;
    lost: number;
    jitterMs: number;
    silent: number | null;
    rttMs: number | null;
    /** MOS-CQE as a class of ITU-T G.109, by the E-model with the profile named. */
    mos: "best" | "high" | "medium" | "low" | "poor" | "bad" | null;
    profile: string | null;
  } | null;
  /** Its partner's stream on the way from the relay, as its client reports it; this client reports by itself. */
  down: { lost: number; jitterMs: number } | null;
}

export interface PairEvents {
  state: { state: State; previous: State; why?: string };
  microphone: { microphone: Microphone };
  queued: Place;
  position: Place;
  matched: { call: string; role: "offerer" | "answerer"; peer: Peer; path: Path };
  stream: { stream: MediaStream };
  connected: { call: string; setupMs?: number };
  text: Text;
  quality: Quality;
  /** How both streams reach the relay, as the server sees them; "good" until it says otherwise. And what else it knows of both sides. */
  relay: { up: Grade; down: Grade; your: Side; their: Side };
  /**
   * "stalled": nothing is heard of the partner. "reconnecting": its connection broke; it has 15 s to come back. "mic_off": its
   * microphone is muted, refused or gone, and "mic_on": it is not.
   */
  peer: { state: "stalled" | "reconnecting" | "back" | "mic_off" | "mic_on" };
  /** This side's own connection broke, or is back. A call goes on meanwhile. */
  connection: { resuming: boolean };
  typing: Record<string, never>;
  /** The code both people can read to each other; also `call.safetyCode`. */
  safety: { code: string | null };
  /** New paths are being looked for; the call goes on meanwhile, and `connected` comes again. */
  restart: { gen: number };
  /** The new wishes of `tune` count. */
  tuned: Record<string, never>;
  /** After `traceOwnCall`: a step of this side's own call, so long after the match, as the server sees it. */
  trace: { call: string; atMs: number; step: Step };
  blocked: Record<string, never>;
  /** The report has reached the app's backend; until then its evidence is kept. */
  reported: Record<string, never>;
  /** The server will stop; `to` is another one. */
  drain: { inMs: number; to?: string };
  /** When this is heard the media has stopped and `texts` is empty. `requeued`: waiting again, in the old place or by `next`. */
  ended: { call: string; by: "self" | "peer" | "server"; why: string; requeued: boolean };
  /** `asked`: what was refused ("queue", "text" …), where it can be told; `k`: which text. */
  error: { code: string; message: string; retryMs?: number; fatal: boolean; asked?: string; k?: number };
  /** A frame that this client does not know, as it came: from a newer server. */
  other: { message: Record<string, unknown> };
}

export class PairError extends Error {
  readonly code: string;
  readonly retryMs?: number;
}

/** A code over two session descriptions, as `call.safetyCode`; null if one has no fingerprint. */
export function safetyCode(...descriptions: (string | undefined)[]): Promise<string | null>;

export class Pair extends EventTarget {
  constructor(options: Options);
  readonly state: State;
  readonly microphone: Microphone;
  readonly welcome: Welcome | null;
  readonly call: { id: string; peer: Peer; path: Path; safetyCode: string | null } | null;
  readonly resuming: boolean;
  readonly localStream: MediaStream | null;
  readonly texts: readonly Text[];
  connect(): Promise<Welcome>;
  disconnect(): void;
  queue(criteria?: Criteria): Promise<void>;
  tune(criteria?: Criteria): void;
  leave(): void;
  next(): void;
  hangup(why?: string): void;
  /** Only where `welcome.policy.acceptance`. */
  accept(): void;
  decline(): void;
  restart(): void;
  /** The partner of this call, or of the last one for ten minutes. */
  block(): void;
  beginReport(): void;
  cancelReport(): void;
  report(report: { category: Category; note?: string; end?: boolean }): void;
  typing(): void;
  /** While connected: `trace` events, for this client alone. */
  traceOwnCall(on?: boolean): void;
  /** Arrives though the connection may break meanwhile; throws `E_RATE` while too much waits for it to come back. */
  sendText(text: string): Text | null;
  mute(muted?: boolean): void;
  openMicrophone(): Promise<void>;
  /** By the `deviceId` of `enumerateDevices`; null is the system's choice. Works in mid-call; never throws. */
  chooseMicrophone(deviceId?: string | null): Promise<void>;
  addEventListener<K extends keyof PairEvents>(
    type: K,
    listener: (event: CustomEvent<PairEvents[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
