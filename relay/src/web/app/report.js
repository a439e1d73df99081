// Reporting a partner: while the dialog is open what they wrote is kept, and no longer.

import { $, toast } from "./dom.js";

export function wireReport(pair) {
  $("report").addEventListener("click", () => {
    pair.beginReport();
    $("report-note").value = "";
    $("report-dialog").returnValue = ""; // closed by Escape it would keep the last one
    $("report-dialog").showModal();
  });
  $("report-dialog").addEventListener("close", () => {
    if ($("report-dialog").returnValue !== "send") return pair.cancelReport();
    try {
      pair.report({ category: $("report-category").value, note: $("report-note").value.trim(), end: true });
    } catch (error) {
      toast(error.message);
    }
  });
}
