// Rows that no other row beats for certain: a beats b where a's worst end is no worse than b's best end in both
// objectives, and better in one. With both ends at the value it is the plain front.
function undominated(rows, best, worst) {
  const ends = [view.x, view.y].map((one) => ends1(one, best(one), worst(one)));
  const [[bestX, worstX], [bestY, worstY]] = ends;
  const byWorst = ordered(rows, worstX), byBest = bestX === worstX ? byWorst : ordered(rows, bestX);
  const kept = [];
  let below = 0, upTo = 0, lowestBelow = Infinity, lowest = Infinity;
  for (const row of byBest) {
    const x = bestX[row], y = bestY[row];
    for (; below < byWorst.length && worstX[byWorst[below]] < x; below++) lowestBelow = Math.min(lowestBelow, worstY[byWorst[below]]);
    for (; upTo < byWorst.length && worstX[byWorst[upTo]] <= x; upTo++) lowest = Math.min(lowest, worstY[byWorst[upTo]]);
    if (!(lowestBelow <= y || lowest < y)) kept.push(row);
  }
  return kept;
}

// Best and worst ends so that less is better.
function ends1(dimension, low, high) {
  if (sign(dimension) > 0) return [low, high];
  const flipped = [high, low].map((end) => Float64Array.from(end, (value) => -value));
  return high === low ? [flipped[0], flipped[0]] : flipped;
}

function ordered(rows, keys) {
  return rows.slice().sort((a, b) => keys[a] - keys[b]);
}
