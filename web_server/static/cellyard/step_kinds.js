// What each kind of step has to fill in (cycling/steps.py is the one definition; this is how it is asked for).
// A field is {path, label, type, unit?, hint?, choices?, required?}; `path` may reach inside: "clip.v_max_v".
const number = (path, label, unit, more = {}) => ({ path, label, unit, type: "number", ...more });
const choice = (path, label, choices, more = {}) => ({ path, label, choices, type: "choice", ...more });

const current = { path: "current_a", other: "rate", label: "Current", type: "amount", hint: "Positive charges, negative discharges. In A, or as a rate: C/5, -2C, D/2." };
const compliance = { path: "current_max_a", other: "rate_max", label: "Largest current", type: "amount", hint: "Magnitude, in A or as a rate (1C)." };
const clip = [number("clip.v_max_v", "Hold at most", "V", { hint: "The device holds this voltage and the step goes on." }), number("clip.v_min_v", "Hold at least", "V")];

export const KINDS = {
  cc: { label: "Constant current", short: "CC", make: { current_a: 1, end: [{ quantity: "voltage_v", value: 4.2 }] }, fields: [current, ...clip] },
  cv: { label: "Constant voltage", short: "CV", make: { voltage_v: 4.2, current_max_a: 1, end: [{ quantity: "current_abs_a", op: "below", value: 0.05 }] }, fields: [number("voltage_v", "Voltage", "V", { required: true }), compliance] },
  cccv: { label: "Constant current, then voltage", short: "CC-CV", make: { current_a: 1, voltage_v: 4.2, end: [{ quantity: "current_abs_a", op: "below", value: 0.05 }] }, fields: [current, number("voltage_v", "Voltage", "V", { required: true })] },
  rest: { label: "Rest", short: "Rest", make: { end: [{ quantity: "time_s", op: "above", value: 600 }] }, fields: [{ path: "isolate", label: "Open the isolator", type: "flag" }] },
  cp: { label: "Constant power", short: "CP", make: { power_w: 1, end: [{ quantity: "voltage_v", value: 4.2 }] }, fields: [number("power_w", "Power", "W", { required: true, hint: "Positive charges." }), number("current_max_a", "Largest current", "A"), ...clip] },
  cr: { label: "Constant resistance", short: "CR", make: { resistance_ohm: 10, direction: "discharge", current_max_a: 1, end: [{ quantity: "voltage_v", op: "below", value: 3 }] }, fields: [number("resistance_ohm", "Resistance", "Ω", { required: true }), number("current_max_a", "Largest current", "A", { required: true })] },
  group: { label: "Group, repeated", short: "Group", make: { count: 3, is_cycle: true, steps: [] }, fields: [number("count", "Rounds", "", { required: true, whole: true }), { path: "is_cycle", label: "Each round is a cycle", type: "flag" }] },
  drive: { label: "Drive: set points over time", short: "Drive", make: { of: "current", points: [[0, 1], [10, -1], [20, 0]] }, fields: [choice("of", "Of", ["current", "power", "voltage", "rate"]), { path: "points", label: "Points", type: "points", hint: "One a line: time in s, set point. Positive charges." }, choice("interpolate", "Between points", ["hold", "linear"], { usual: "hold" }), number("scale", "Times", "", { usual: 1 }), number("repeat", "Passes", "", { usual: 1, whole: true }), ...clip] },
  wait_for: { label: "Wait for something", short: "Wait", make: { operator: "Continue?", end: [{ quantity: "time_s", op: "above", value: 3600, then: "fail" }] }, fields: [{ path: "operator", label: "A person, asked", type: "text" }, number("tolerance_c", "Temperature within ±", "°C", { usual: 1, hint: "With “Temperature” below." }), { path: "start_time", label: "Time of day or date", type: "text", hint: "2026-05-01T08:00:00Z" }, { path: "measure.name", label: "Measure", type: "text" }, choice("measure.op", "is", ["above", "below"]), number("measure.value", "than", ""), number("measure.hold_s", "for", "s")] },
  note: { label: "Note", short: "Note", make: { text: "" }, fields: [{ path: "text", label: "Text", type: "text", required: true }] },
};
// Defined and checked, but not run yet: refused when an experiment is filed.
KINDS.scan = { label: "Voltage scan (not run yet)", short: "Scan", later: true, make: { from_v: 3, to_v: 4, rate_v_s: 0.001, current_max_a: 1 }, fields: [number("from_v", "From", "V", { required: true }), number("to_v", "To", "V", { required: true }), number("rate_v_s", "Rate", "V/s", { required: true }), number("current_max_a", "Largest current", "A", { required: true })] };
KINDS.eis = { label: "Impedance (not run yet)", short: "EIS", later: true, make: { mode: "galvanostatic", amplitude: 0.1, from_hz: 1000, to_hz: 0.1, per_decade: 10 }, fields: [{ path: "mode", label: "Mode", type: "text", required: true }, number("amplitude", "Amplitude", ""), number("from_hz", "From", "Hz"), number("to_hz", "To", "Hz"), number("per_decade", "Points a decade", "", { whole: true })] };

export const COMMON = [
  { path: "label", label: "Label", type: "text", hint: "A name; “go to” leads to it." },
  { path: "tags", label: "Tags", type: "words" },
  choice("direction", "Direction", ["auto", "charge", "discharge", "rest"], { usual: "auto" }),
  number("temperature_c", "Temperature", "°C"),
  { path: "outputs", label: "Outputs", type: "pairs", hint: "pump=0.5, relay=1" },
  number("record.every_s", "Record every", "s"),
  number("record.on_dv_v", "or at a change of", "V"),
  number("record.on_di_a", "or at a change of", "A"),
  number("safety.v_max_v", "Tighter: at most", "V"),
  number("safety.v_min_v", "Tighter: at least", "V"),
  number("safety.i_max_a", "Tighter: charge at most", "A"),
  number("safety.temp_max_c", "Tighter: at most", "°C"),
  number("safety.max_step_s", "Longest time", "s"),
  number("settle_s", "Settling", "s", { usual: 0.5 }),
  { path: "skip_if_met", label: "Skip when its end is met already", type: "flag", usual: true },
  number("soc_after", "State of charge after", "%"),
  { path: "rate_of", label: "Rate refers to", type: "text", hint: "Name of a stored result." },
  { path: "dcir_at_s", label: "Resistance after", type: "numbers", hint: "Seconds: 0.1, 1, 10" },
  { path: "store.name", label: "Keep a result as", type: "text" },
  { path: "store.quantity", label: "of", type: "text", hint: "charge_ah" },
  number("store.min_rel", "at least × capacity", ""),
  number("store.max_rel", "at most × capacity", ""),
];

export const QUANTITIES = {
  time_s: ["Time", "s"], voltage_v: ["Voltage", "V"], current_abs_a: ["Current", "A"], rate_abs: ["Rate", "C"], power_abs_w: ["Power", "W"],
  charge_ah: ["Charge", "Ah"], energy_wh: ["Energy", "Wh"], charge_rel: ["Charge ÷ capacity", ""], temperature_c: ["Temperature", "°C"], soc: ["State of charge", "%"],
  dv_dt_v_s: ["Voltage slope", "V/s"], di_dt_a_s: ["Current slope", "A/s"],
};

// Parts of the profile as a whole.
export const WHOLE = {
  "Capacity": [choice("capacity.basis", "C-rates refer to", ["nominal", "given", "measured"], { usual: "nominal" }), number("capacity.ah", "Given capacity", "Ah")],
  "Recording": [number("record.every_s", "Every", "s", { usual: 1 }), number("record.on_dv_v", "or at a change of", "V"), number("record.on_di_a", "or at a change of", "A"), number("record.on_dtemp_c", "or at a change of", "°C"), number("record.min_gap_s", "but not closer than", "s")],
  "Safety: never wider than battery, devices and station": [number("safety.v_max_v", "Voltage at most", "V"), number("safety.v_min_v", "Voltage at least", "V"), number("safety.i_max_a", "Charge at most", "A"), number("safety.i_min_a", "Discharge at most", "A", { hint: "Negative." }), number("safety.p_abs_max_w", "Power at most", "W"), number("safety.q_abs_max_ah", "Net charge at most", "Ah"), number("safety.temp_max_c", "Temperature at most", "°C"), number("safety.temp_min_c", "Temperature at least", "°C"), number("safety.delay_s", "Trip after", "s"), number("safety.run_max_s", "Whole run at most", "s"), number("safety.max_step_s", "One step at most", "s", { usual: 172800 })],
  "Stop the whole test, as a normal end": [number("stop.cycles", "After cycles", "", { whole: true }), number("stop.capacity_percent", "When capacity falls to", "%"), number("stop.run_s", "After", "s"), number("stop.q_ah", "After moving", "Ah"), choice("stop.when", "Acts", ["end of cycle", "now"], { usual: "end of cycle" })],
};
