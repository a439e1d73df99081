// What `/metrics` said, and what two looks at it say together. Nothing is kept beyond the window.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="([^"]*)"/g;

export const WINDOW_MS = 300_000;
/** Numbers that say "a second" are of the last so many milliseconds: calm, and still live. */
const LOOK_BACK_MS = 6_000;

/** One look: families by name, each a list of samples. */
export class Look {
  constructor(text, at) {
    this.at = at;
    this.families = new Map();
    for (const line of text.split("\n")) {
      const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
      if (name === undefined) continue;
      if (!this.families.has(name)) this.families.set(name, []);
      const of = Object.fromEntries([...labels.matchAll(LABEL)].map(([, label, text]) => [label, text]));
      this.families.get(name).push({ of, value: Number(value) });
    }
  }

  has(name) {
    return this.families.has(name);
  }

  samples(name, where = {}) {
    const wanted = Object.entries(where);
    return (this.families.get(name) ?? []).filter(({ of }) => wanted.every(([label, text]) => of[label] === text));
  }

  /** All samples of a family together; undefined if it has none, which is not the same as nought. */
  sum(name, where) {
    const samples = this.samples(name, where);
    return samples.length === 0 ? undefined : samples.reduce((sum, { value }) => sum + value, 0);
  }

  /** The values a label has, in the order of the page. */
  values(name, label) {
    return [...new Set(this.samples(name).map(({ of }) => of[label]))];
  }

  label(name, label) {
    return this.samples(name)[0]?.of[label];
  }
}

/** The looks of the last five minutes. */
export class History {
  looks = [];

  add(look) {
    // A relay that started anew begins to count anew.
    if (this.latest && started(this.latest, look)) this.looks = [];
    this.looks.push(look);
    while (this.looks[0].at < look.at - WINDOW_MS) this.looks.shift();
  }

  get latest() {
    return this.looks.at(-1);
  }

  /** How much a counter has grown a second; undefined before the second look. */
  rate(name, where) {
    const since = this.latest.at - LOOK_BACK_MS;
    const before = this.looks.findLast((look) => look.at <= since) ?? this.looks[0];
    return rate(before, this.latest, name, where);
  }

  /** How much a counter has grown in the window. */
  growth(name, where) {
    return grown(this.looks[0], this.latest, name, where) ?? 0;
  }

  /** A line: what `value(look, before)` is at each look. */
  line(value) {
    return this.looks.map((look, place) => ({ at: look.at, value: value(look, this.looks[place - 1]) }));
  }

  /** A histogram's observations in the window, or since the start if there are none in it. */
  histogram(name) {
    const whole = buckets(this.latest, name);
    const before = buckets(this.looks[0], name);
    const recent = whole.map(({ bound, count }, place) => ({ bound, count: count - (before[place]?.count ?? 0) }));
    const isRecent = recent.some(({ count }) => count > 0);
    return new Histogram(isRecent ? recent : whole, isRecent);
  }
}

export function rate(before, look, name, where) {
  const more = before === undefined ? undefined : grown(before, look, name, where);
  return more === undefined || look.at <= before.at ? undefined : (more * 1000) / (look.at - before.at);
}

function grown(before, look, name, where) {
  const [then, now] = [before.sum(name, where), look.sum(name, where)];
  return now === undefined ? undefined : now - (then ?? 0);
}

function started(before, look) {
  const busy = (of) => of.sum("relay_worker_busy_seconds_total") ?? 0;
  const replies = (of) => of.sum("relay_replies_total") ?? 0;
  return busy(look) < busy(before) || replies(look) < replies(before);
}

/** Not cumulative, ascending, all series of a family together. */
function buckets(look, name) {
  const bounds = new Map();
  for (const { of, value } of look.samples(`${name}_bucket`)) {
    const bound = of.le === "+Inf" ? Infinity : Number(of.le);
    bounds.set(bound, (bounds.get(bound) ?? 0) + value);
  }
  const cumulative = [...bounds].sort(([a], [b]) => a - b);
  return cumulative.map(([bound, count], place) => ({ bound, count: count - (cumulative[place - 1]?.[1] ?? 0) }));
}

export class Histogram {
  constructor(buckets, isRecent) {
    this.buckets = buckets;
    this.isRecent = isRecent;
    this.count = buckets.reduce((sum, { count }) => sum + count, 0);
  }

  /** Between the bounds of a bucket as far as its rank is, as Prometheus does it. */
  quantile(share) {
    let rank = share * this.count;
    let floor = 0;
    for (const { bound, count } of this.buckets) {
      if (count > 0 && rank <= count) return bound === Infinity ? floor : floor + ((bound - floor) * rank) / count;
      rank -= count;
      floor = bound === Infinity ? floor : bound;
    }
    return floor;
  }
}
