// 95 % intervals: of a share, and what two of them say of a move.

const Z = 1.96;

/** A share of `n` independent things with its Wilson interval; nothing where there are none. */
export function wilson(count, n) {
  if (!n) return {};
  const share = count / n;
  const middle = share + (Z * Z) / (2 * n);
  const width = Z * Math.sqrt((share * (1 - share)) / n + (Z * Z) / (4 * n * n));
  const end = (at) => Math.min(1, Math.max(0, at / (1 + (Z * Z) / n)));
  return { value: share, lower: end(middle - width), upper: end(middle + width) };
}

/** A move is clear when the intervals of both numbers do not touch; undefined where there are none. */
export function moved(now, before) {
  if (now.lower === undefined || before.lower === undefined) return undefined;
  if (now.lower > before.upper) return "clear rise";
  return now.upper < before.lower ? "clear fall" : "no clear change";
}
