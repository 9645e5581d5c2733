import { BAR_CLOSE_TIME } from "../indicators/bar.ts";

/**
 * When the unclosed bars of one venue are due, soonest first, those due together in order of series: a binary heap in
 * typed arrays. It holds at most two entries a series, and grows by doubling. Hot path.
 */
export class DueBars {
  times = new Float64Array(64);
  series = new Int32Array(64);
  count = 0;

  /** Adds the bar at `bars[at]`, due `lateness` microseconds after its close. */
  push(series: number, bars: Float64Array, at: number, lateness: number): void {
    if (this.count === this.times.length) this.#grow();
    const { times, series: names } = this;
    const time = bars[at + BAR_CLOSE_TIME] + lateness;
    let hole = this.count;
    this.count += 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (times[parent] < time || (times[parent] === time && names[parent] <= series)) break;
      times[hole] = times[parent];
      names[hole] = names[parent];
      hole = parent;
    }
    times[hole] = time;
    names[hole] = series;
  }

  /** Removes the first entry. */
  pop(): void {
    this.count -= 1;
    this.#sink(0, this.count);
  }

  /** Puts entry `from` where `hole` is, or below. */
  #sink(start: number, from: number): void {
    const { times, series, count } = this;
    const time = times[from];
    const name = series[from];
    let hole = start;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= count) break;
      const right = child + 1;
      if (
        right < count &&
        (times[right] < times[child] || (times[right] === times[child] && series[right] < series[child]))
      ) {
        child = right;
      }
      if (time < times[child] || (time === times[child] && name <= series[child])) break;
      times[hole] = times[child];
      series[hole] = series[child];
      hole = child;
    }
    times[hole] = time;
    series[hole] = name;
  }

  /** Removes all entries of a series; a walk over the heap, for when a timeframe is given up. */
  remove(series: number): void {
    let kept = 0;
    for (let entry = 0; entry < this.count; entry += 1) {
      if (this.series[entry] === series) continue;
      this.times[kept] = this.times[entry];
      this.series[kept] = this.series[entry];
      kept += 1;
    }
    this.count = kept;
    for (let entry = (kept >> 1) - 1; entry >= 0; entry -= 1) this.#sink(entry, entry);
  }

  #grow(): void {
    const times = new Float64Array(this.times.length * 2);
    const series = new Int32Array(this.series.length * 2);
    times.set(this.times);
    series.set(this.series);
    this.times = times;
    this.series = series;
  }
}
