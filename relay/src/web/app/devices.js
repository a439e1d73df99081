// Which microphone and which loudspeaker. Nothing is remembered: browsers give devices other names on every site anyway.

import { $, toast } from "./dom.js";

/** Wires the dialog; `pair` is told of the microphone, the loudspeaker is the page's own. */
export function wireDevices(pair) {
  for (const opener of document.querySelectorAll(".choose-sound")) opener.addEventListener("click", () => open(pair));
  $("microphones").addEventListener("change", (event) => pair.chooseMicrophone(event.target.value || null));
  $("speakers").addEventListener("change", (event) => useSpeaker(event.target.value));
  navigator.mediaDevices?.addEventListener("devicechange", () => $("sound-dialog").open && list(pair));
}

async function open(pair) {
  await list(pair);
  $("sound-dialog").showModal();
}

async function list(pair) {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  const current = pair.localStream?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
  fill($("microphones"), devices.filter(({ kind }) => kind === "audioinput"), current, "Microphone");
  fill($("speakers"), devices.filter(({ kind }) => kind === "audiooutput"), $("far").sinkId ?? "", "Loudspeaker");
  $("speakers-field").hidden = !("setSinkId" in HTMLMediaElement.prototype);
}

function fill(select, devices, current, kind) {
  const named = devices.filter(({ deviceId }) => deviceId !== "" && deviceId !== "default");
  const options = named.map(({ deviceId, label }, number) => new Option(label || `${kind} ${number + 1}`, deviceId));
  select.replaceChildren(new Option("As the system has it", ""), ...options);
  select.value = named.some(({ deviceId }) => deviceId === current) ? current : "";
}

async function useSpeaker(deviceId) {
  try {
    await $("far").setSinkId(deviceId);
  } catch {
    toast("That loudspeaker cannot be used.");
  }
}
