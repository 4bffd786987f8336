// The charts of the page. Chart.js draws them on canvases, so each is made from a function that is given the colours of
// the moment, and made anew when the page turns dark, light, or to paper.
"use strict";

const charts = [];  // {id, canvas, configure, chart}

/** Adds a chart to `parent`; `configure(colours)` returns what Chart.js takes. `id` names it for tests. */
function addChart(parent, id, height, configure) {
  const canvas = element("canvas", {role: "img"});
  const box = element("div", {class: "chart"}, canvas);
  box.style.height = height + "px";
  parent.append(box);
  charts.push({id, canvas, configure, chart: null});
}

function currentColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue("--" + name).trim();
  return {
    text: colour("text"), quiet: colour("quiet"), line: colour("line"), page: colour("page"),
    series: [1, 2, 3, 4, 5, 6, 7].map(i => colour("series-" + i)),
  };
}

function drawCharts() {
  const colours = currentColours();
  Chart.defaults.color = colours.quiet;
  Chart.defaults.borderColor = colours.line;
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.animation = false;
  for (const one of charts) {
    if (one.chart) one.chart.destroy();
    one.chart = new Chart(one.canvas, one.configure(colours));
  }
}

// A few things that all have in common.
function options(x, y, more = {}) {
  return {
    responsive: true, maintainAspectRatio: false, layout: {padding: {top: 14}},
    scales: {x, y},
    plugins: {legend: {position: "bottom", labels: {usePointStyle: true, boxWidth: 8, boxHeight: 8, filter: item => item.text !== ""}}, ...more.plugins},
    interaction: {mode: "nearest", intersect: false},
    ...more.top,
  };
}

function axis(text, more = {}) {
  return {type: "linear", title: {display: true, text}, ...more};
}

const percentTicks = {ticks: {callback: share => tidy(100 * share) + "%"}};

/** A logarithmic axis round `values` with ticks at those of `ticks` that leave room for each other. */
function logarithmicAxis(text, values, ticks, more) {
  return {
    type: "logarithmic", title: {display: true, text}, min: 0.75 * Math.min(...values), max: 1.35 * Math.max(...values),
    afterBuildTicks: scale => {
      const apart = Math.log(scale.max / scale.min) / 12;
      scale.ticks = [];
      let last = 0;
      for (const value of ticks.filter(value => value >= scale.min && value <= scale.max).sort((a, b) => a - b)) {
        if (Math.log(value / last) < apart) continue;
        scale.ticks.push({value});
        last = value;
      }
    },
    ...more,
  };
}

/** Accuracies by their errors, of which a halved one is the same way up everywhere. */
function errorAxis(errors) {
  const ticks = [1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001];
  return logarithmicAxis("accuracy (errors on a logarithmic scale)", errors, ticks,
    {reverse: true, max: Math.min(1.05, 1.35 * Math.max(...errors)), ticks: {callback: error => tidy(100 * (1 - error)) + "%"}});
}

function sizeAxis(text, sizes) {
  const ticks = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap(power => [1, 2, 5].map(first => first * 10 ** power));
  return logarithmicAxis(text, sizes, ticks, {ticks: {maxRotation: 0, callback: shortAmount}});
}

function shortAmount(number) {
  return number >= 1e9 ? number / 1e9 + " G" : number >= 1e6 ? number / 1e6 + " M" : number / 1e3 + " k";
}

/** Work in the unit that keeps its numbers short. */
function workAxis(largest) {
  const [unit, name] = [[1e15, "10¹⁵"], [1e12, "10¹²"], [1e9, "10⁹"], [1e6, "10⁶"]].find(([size]) => largest >= size) || [1, ""];
  return axis("work, " + name + " multiply-accumulates", {min: 0, ticks: {callback: work => tidy(work / unit), maxTicksLimit: 9}});
}

/** Upright dashed lines at `at`, a list of {x, text}, the texts above: a Chart.js plugin. */
function uprightLines(at) {
  return {
    id: "upright-lines",
    afterDatasetsDraw(chart) {
      const {ctx, chartArea: area, scales: {x}} = chart;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = Chart.defaults.color;
      ctx.font = "11px " + Chart.defaults.font.family;
      ctx.setLineDash([4, 4]);
      let free = area.left;  // where the next text may begin
      for (const {x: value, text} of at) {
        const place = x.getPixelForValue(value);
        if (!(place >= area.left && place <= area.right)) continue;
        ctx.beginPath();
        ctx.moveTo(place, area.top);
        ctx.lineTo(place, area.bottom);
        ctx.stroke();
        const width = ctx.measureText(text).width;
        const begin = Math.min(place - 2, area.right - width);
        if (begin < free) continue;
        ctx.fillText(text, begin, area.top - 4);
        free = begin + width + 6;
      }
      ctx.restore();
    },
  };
}

/** Writes each point's `text` beside it, unless it would lie on another one's: a Chart.js plugin. */
const pointTexts = {
  id: "point-texts",
  afterDatasetsDraw(chart) {
    const {ctx, chartArea: area} = chart;
    const around = ({x, y}) => ({left: x - 7, right: x + 7, top: y - 7, bottom: y + 7});
    const taken = chart.data.datasets.flatMap((_, i) => chart.getDatasetMeta(i).data).filter(point => Number.isFinite(point.x)).map(around);
    ctx.save();
    ctx.fillStyle = Chart.defaults.color;
    ctx.font = "11px " + Chart.defaults.font.family;
    chart.data.datasets.forEach((dataset, i) => {
      chart.getDatasetMeta(i).data.forEach((point, k) => {
        const text = dataset.data[k].text;
        if (!text || !Number.isFinite(point.x)) return;
        const width = ctx.measureText(text).width;
        // Right of the point, left of it, above, below: the first place that is free.
        for (const [x, y] of [[point.x + 10, point.y + 4], [point.x - 10 - width, point.y + 4],
                              [point.x - width / 2, point.y - 10], [point.x - width / 2, point.y + 20]]) {
          const box = {left: x, right: x + width, top: y - 11, bottom: y + 2};
          const inside = box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
          if (!inside || taken.some(other => overlap(box, other))) continue;
          ctx.fillText(text, x, y);
          taken.push(box);
          return;
        }
      });
    });
    ctx.restore();
  },
};

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** A row for each of `rows`; in it a point and its interval for each series: {label, values: [{value, lower, upper}]}. */
function intervalChart(parent, id, rows, series, x, lines = []) {
  const step = Math.min(0.22, 0.7 / series.length);
  const place = (row, i) => row + (i - (series.length - 1) / 2) * step;
  const height = 74 + rows.length * Math.max(20, 13 * series.length) + (series.length > 1 ? 26 : 0);
  addChart(parent, id, height, colours => ({
    type: "scatter",
    data: {datasets: series.flatMap((one, i) => {
      const colour = colours.series[i % colours.series.length];
      const known = one.values.map((value, row) => ({...value, y: place(row, i)})).filter(value => Number.isFinite(value.value));
      const bars = known.filter(value => Number.isFinite(value.lower) && Number.isFinite(value.upper));
      return [
        {label: one.label, data: known.map(value => ({x: value.value, y: value.y, tip: value.tip})), backgroundColor: colour,
         borderColor: colour, pointRadius: 4.5},
        {label: "", data: bars.flatMap(value => [{x: value.lower, y: value.y}, {x: value.upper, y: value.y}, {x: null, y: null}]),
         showLine: true, borderColor: colour, borderWidth: 2, pointRadius: 0, pointHitRadius: 0},
      ];
    })},
    options: options(x, {
      type: "linear", reverse: true, min: -0.6, max: rows.length - 0.4, grid: {display: false},
      afterBuildTicks: scale => { scale.ticks = rows.map((_, row) => ({value: row})); },
      ticks: {autoSkip: false, callback: row => shortened(rows[row], 22)},
    }, {plugins: {tooltip: {filter: item => !item.dataset.showLine, callbacks: {label: item => item.raw.tip || tidy(item.raw.x)}}}}),
    plugins: [uprightLines(lines)],
  }));
}

/** What tests read: of each chart how many marks it has, and whether anything was drawn on its canvas. */
function checkCharts() {
  return charts.map(({id, canvas, chart}) => {
    const marks = chart.data.datasets.map((_, i) => chart.getDatasetMeta(i).data)
      .flat().filter(mark => Number.isFinite(mark.x) && Number.isFinite(mark.y)).length;
    const pixels = canvas.width && canvas.height ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data : [];
    return {id, marks, drawn: pixels.some(byte => byte !== 0)};
  });
}
