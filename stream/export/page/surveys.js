// Surveys: CSAT, NPS, CES and CXI with their intervals and samples.

import { forest } from "./forest.js";
import { byLength } from "./numbers.js";
import { counted, listed, shown, windowName } from "./text.js";

const CXI = "engagement_cxi";
const DIMENSIONS = ["effort", "empathy", "understanding", "efficiency"];
const WINDOWED = [
  { title: "CSAT", short: "share satisfied", metric: "engagement_csat_ratio", kind: "share", survey: "csat", mean: ["engagement_csat_score_mean", 5] },
  { title: "NPS", short: "promoters minus detractors", metric: "engagement_nps", kind: "score", survey: "nps" },
  { title: "CES", short: "share that calls it easy", metric: "engagement_ces_ratio", kind: "share", survey: "ces", mean: ["engagement_ces_score_mean", 7] },
];

/** Returns what renders the panel. */
export function surveys(root) {
  const blocks = WINDOWED.map((spec) => ({ spec, made: forest(spec) }));
  const cxi = forest({ title: "CXI", short: "positive minus negative", metric: CXI, kind: "score", labelled: (name) => name, rows: "dimension" });
  root.append(...blocks.map(({ made }) => made.element), cxi.element);

  return (numbers) => {
    const windows = byLength(numbers.about.windows.surveys);
    if (windows.length === 0) return;
    const window = numbers.window("surveys", "30d");
    for (const { spec, made } of blocks) {
      const rows = windows.map((one) => ({ label: one, ...numbers.live.find(spec.metric, { window: one }) }));
      made.render(rows, { note: noteOf(numbers, spec, window) });
    }
    cxi.render(cxiRows(numbers, window), { reference: null, note: noteOf(numbers, { survey: "cxi" }, window) });
  };
}

function cxiRows(numbers, window) {
  const index = { label: "Index", ...numbers.live.find(CXI, { window }) };
  const parts = DIMENSIONS.map((dimension) => ({
    label: dimension,
    ...numbers.live.find("engagement_cxi_dimension", { window, dimension }),
  }));
  return [index, ...parts];
}

function noteOf(numbers, { survey, mean }, window) {
  const told = [];
  const scored = mean && numbers.live.find(mean[0], { window }).value;
  if (scored !== undefined) told.push(`mean score ${shown("mean", scored)} of ${mean[1]}`);
  if (survey === "nps") told.push(...groups(numbers, window));
  const response = numbers.live.find("engagement_survey_response_ratio", { window, kind: survey });
  if (response.value !== undefined) {
    told.push(`${shown("share", response.value)} of ${shown("count", response.n)} shown were answered`);
  }
  return told.length ? `In ${windowName(window)}: ${told.join("; ")}.` : "";
}

function groups(numbers, window) {
  const counts = ["promoter", "passive", "detractor"].map((group) => [
    group,
    numbers.live.find("engagement_nps_answers", { window, group }).value,
  ]);
  if (!counts.some(([, count]) => count > 0)) return [];
  return [listed(counts.map(([group, count]) => counted(count, group)))];
}
