// A step in one sentence, for the list of the editor.
import { duration, setting } from "./numbers.js";
import { KINDS, QUANTITIES } from "./step_kinds.js";

const amp = (step, a = "current_a", rate = "rate") => step[rate] ?? (typeof step[a] === "number" ? setting(step[a], "A") : step[a] ?? "?");
const shown = (value, unit) => (typeof value === "number" ? setting(value, unit) : value ?? "?");
const verb = (step) => {
  const sign = step.rate !== undefined ? (/^\s*(-|D)/i.test(step.rate) ? -1 : 1) : Math.sign(step.current_a ?? step.power_w ?? 1);
  return sign < 0 ? "Discharge" : "Charge";
};

export function direction(step) {
  if (["cc", "cccv", "cp"].includes(step.kind)) return verb(step).toLowerCase();
  if (step.kind === "cr") return step.direction === "charge" ? "charge" : "discharge";
  return step.kind === "group" ? "group" : "other";
}

export function endWords(end) {
  const [name, unit] = QUANTITIES[end.quantity] ?? [end.quantity || "?", ""];
  if (end.quantity === "time_s") return `for ${typeof end.value === "number" ? duration(end.value) : "?"}${thenWords(end)}`;
  const sign = end.op === "above" ? "≥" : end.op === "below" ? "≤" : "reaches";
  return `until ${name.toLowerCase()} ${sign} ${shown(end.value, unit)}${end.hold_s ? ` for ${duration(end.hold_s)}` : ""}${thenWords(end)}`;
}

function thenWords(end) {
  const then = end.then ?? "next";
  if (then === "next") return "";
  if (typeof then === "object") return ` → go to ${then.goto || "?"}`;
  return { exit_group: " → leave the group", stop: " → finish the test", fail: " → fail" }[then] ?? "";
}

const ends = (step) => (step.end ?? []).map(endWords).join(", or ");

export function describe(step) {
  const said = {
    rest: () => "Output off",
    cc: () => `${verb(step)} at ${amp(step)}`,
    cv: () => `Hold ${shown(step.voltage_v, "V")}, at most ${amp(step, "current_max_a", "rate_max")}`,
    cccv: () => `${verb(step)} at ${amp(step)} to ${shown(step.voltage_v, "V")} and hold it`,
    cp: () => `${verb(step)} with ${shown(step.power_w, "W")}`,
    cr: () => `${step.direction === "charge" ? "Charge" : "Discharge"} over ${shown(step.resistance_ohm, "Ω")}`,
    drive: () => `${(step.points ?? []).length} points of ${step.of}${(step.repeat ?? 1) > 1 ? `, ${step.repeat} passes` : ""}`,
    scan: () => `${shown(step.from_v, "V")} to ${shown(step.to_v, "V")} at ${shown(step.rate_v_s, "V/s")}`,
    eis: () => `${shown(step.from_hz, "Hz")} to ${shown(step.to_hz, "Hz")}`,
    wait_for: () => [step.operator && `for a person: ${step.operator}`, step.temperature_c !== undefined && `for ${shown(step.temperature_c, "°C")}`, step.start_time && `until ${step.start_time}`, step.measure?.name && `for ${step.measure.name}`].filter(Boolean).join(", ") || "Wait",
    note: () => step.text || "(empty)",
    group: () => `${step.count} ×${step.is_cycle ? ", each round is a cycle" : ""}`,
  }[step.kind];
  const parts = [said ? said() : step.kind, ends(step)].filter(Boolean);
  return parts.join(", ");
}

export const title = (step) => step.label || KINDS[step.kind]?.label.replace(/ \(.*/, "") || step.kind;
