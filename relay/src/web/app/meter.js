// Level meters: how loud a stream is, drawn and forgotten.

let context = null; // made at the first click that needs it: browsers allow sound only then
const ears = new Map(); // element → { source, analyser, samples }
let frame = 0;

/** Shows how loud a stream is on an element: as the value of a `meter`, as `--level` on anything else. No stream: silence. */
export function meter(element, stream) {
  ears.get(element)?.source.disconnect();
  ears.delete(element);
  draw(element, 0);
  if (!stream) return;
  context ??= new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 512 });
  const source = context.createMediaStreamSource(stream);
  source.connect(analyser);
  ears.set(element, { source, analyser, samples: new Float32Array(analyser.fftSize) });
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(listen);
}

function listen() {
  for (const [element, { analyser, samples }] of ears) {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    draw(element, Math.min(1, Math.sqrt(power) * 5));
  }
  if (ears.size > 0) frame = requestAnimationFrame(listen);
}

function draw(element, level) {
  if (element instanceof HTMLMeterElement) element.value = level;
  else element.style.setProperty("--level", level.toFixed(2));
}
