// 95 % intervals: that of a share, and whether two numbers differ clearly by theirs.

const Z = 1.96;

/** The share of `count` in `n` with its Wilson interval. Empty if `n` is 0. */
export function wilson(count, n) {
  if (!n) return {};
  const share = count / n;
  const middle = share + (Z * Z) / (2 * n);
  const width = Z * Math.sqrt((share * (1 - share)) / n + (Z * Z) / (4 * n * n));
  const end = (at) => Math.min(1, Math.max(0, at / (1 + (Z * Z) / n)));
  return { value: share, lower: end(middle - width), upper: end(middle + width) };
}

/** Whether a number has clearly moved: whether both intervals do not touch. Undefined for numbers without intervals. */
export function moved(now, before) {
  if (now.lower === undefined || before.lower === undefined) return undefined;
  if (now.lower > before.upper) return "clear rise";
  return now.upper < before.lower ? "clear fall" : "no clear change";
}
