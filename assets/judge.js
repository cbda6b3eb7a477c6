// What a choice of thresholds gives: arithmetic on counts, as in fairness_core/measures.py, and its resampling interval.
// Joined with cut.js into one module by pages/cut.py. A cell is [group][true class]; a rate without rows is NaN.

const RESAMPLES = 400;

const rate = (part, whole) => (whole > 0 ? part / whole : NaN);

// the signed difference to the last group, of several the one of largest magnitude
function againstLast(rates) {
  let found = NaN;
  const last = rates[rates.length - 1];
  for (let g = 0; g + 1 < rates.length; g++) {
    const difference = rates[g] - last;
    if (!Number.isNaN(difference) && !(Math.abs(difference) <= Math.abs(found))) found = difference;
  }
  return found;
}

function spread(rates) {
  const known = rates.filter((r) => !Number.isNaN(r));
  return known.length < 2 ? NaN : Math.max(...known) - Math.min(...known);
}

// favoured and rows: [group][true class] people; everything the page says about one choice
function judge(favoured, rows) {
  const [fpr, tpr] = [0, 1].map((t) => rows.map((own, g) => rate(favoured[g][t], own[t])));
  const selected = rows.map((own, g) => rate(favoured[g][0] + favoured[g][1], own[0] + own[1]));
  const [n0, n1] = [0, 1].map((t) => rows.reduce((sum, own) => sum + own[t], 0));
  const [fp, tp] = [0, 1].map((t) => favoured.reduce((sum, own) => sum + own[t], 0));
  const readiness = tpr.map((r, g) => (r + fpr[g]) / 2);
  return {
    rho: (rate(tp, n1) + rate(n0 - fp, n0)) / 2,
    accuracy: rate(tp + n0 - fp, n0 + n1),
    share: rate(fp + tp, n0 + n1),
    falsePositives: fp,
    falseNegatives: n1 - tp,
    n: n0 + n1,
    fpr,
    tpr,
    selected,
    statistical_parity_difference: againstLast(selected),
    equal_opportunity_difference: againstLast(tpr),
    average_odds_difference: againstLast(readiness),
    average_absolute_odds_difference: (spread(tpr) + spread(fpr)) / 2,
  };
}

const isTrivial = (judged) => Math.min(judged.share, 1 - judged.share) < 0.02 || judged.rho < 0.55;

// The same random numbers for every choice: intervals move smoothly with a slider, and differences stay comparable.
const NORMALS = [];
function normal(k) {
  if (!NORMALS.length) {
    let state = 20260601;
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    for (let i = 0; i < 16384; i++) NORMALS.push(Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  }
  return NORMALS[k % NORMALS.length];
}

// Poisson bootstrap of the people: every cell of (group, true class, decision) is drawn anew around its count
function intervals(favoured, rows, names) {
  const draws = names.map(() => []);
  let k = 0;
  const drawn = (count) => Math.max(0, count + Math.sqrt(count) * normal(k++));
  for (let b = 0; b < RESAMPLES; b++) {
    const up = favoured.map((own) => own.map(drawn));
    const all = rows.map((own, g) => own.map((n, t) => up[g][t] + drawn(n - favoured[g][t])));
    const judged = judge(up, all);
    names.forEach((name, i) => Number.isNaN(judged[name]) || draws[i].push(judged[name]));
  }
  return draws.map((values) => {
    if (!values.length) return [NaN, NaN];
    values.sort((a, b) => a - b);
    return [0.025, 0.975].map((q) => values[Math.round(q * (values.length - 1))]);
  });
}

// where a surface z[row][column] passes through a level: segments [[column, row], [column, row]], two corners of every
// square of the grid at a time (marching squares); squares with an undefined corner have none
function contour(z, level) {
  const segments = [];
  for (let j = 0; j + 1 < z.length; j++) {
    for (let i = 0; i + 1 < z[j].length; i++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const values = corners.map(([x, y]) => z[y][x] - level);
      const crossings = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [values[k], values[(k + 1) % 4]];
        if (a < 0 === b < 0 || Number.isNaN(a) || Number.isNaN(b)) continue;
        const [p, q] = [corners[k], corners[(k + 1) % 4]];
        const way = a / (a - b);
        crossings.push([p[0] + way * (q[0] - p[0]), p[1] + way * (q[1] - p[1])]);
      }
      for (let k = 0; k + 1 < crossings.length; k += 2) segments.push([crossings[k], crossings[k + 1]]);
    }
  }
  return segments;
}
