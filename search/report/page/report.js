// Builds the page from the data in it (search/report/report.cpp writes it). Names and paths are the user's own text: they
// become text nodes, never HTML.
"use strict";

const problems = [];  // script errors, and whatever the content security policy refused: tests want none
addEventListener("error", event => problems.push(String(event.message)));
addEventListener("securitypolicyviolation", event => problems.push("refused: " + event.violatedDirective + " " + event.blockedURI));

const {runs, known} = JSON.parse(document.getElementById("data").textContent);
const several = runs.length > 1;
const page = document.getElementById("report");

// ---- elements and numbers

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter(child => child !== null));
  return made;
}

const isNumber = value => typeof value === "number" && Number.isFinite(value);
const orDash = (value, text) => isNumber(value) ? text(value) : "–";
const tidy = number => String(Number(number.toPrecision(4)));
const thousands = number => number.toLocaleString("en");
const percent = share => (100 * share).toFixed(2) + "%";
const capital = text => text[0].toUpperCase() + text.slice(1);
const shortened = (text, letters) => text.length > letters ? text.slice(0, letters - 1) + "…" : text;
const work = macs => macs >= 1e6 ? macs.toExponential(2).replace("e+", "e") + " MACs" : thousands(macs) + " MACs";
const milliseconds = number => Number(number.toPrecision(3)) + " ms";
const millions = number => number >= 1e6 ? (number / 1e6).toFixed(2) + " M" : thousands(number);

function duration(seconds) {
  if (seconds < 60) return tidy(Math.round(seconds * 10) / 10) + " s";
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? minutes + " min " + Math.floor(seconds % 60) + " s" : Math.floor(minutes / 60) + " h " + minutes % 60 + " min";
}

const energy = joules => joules >= 3.6e5 ? tidy(joules / 3.6e6) + " kWh" : joules >= 1e3 ? tidy(joules / 1e3) + " kJ" : tidy(joules) + " J";

function interval(share) {
  return percent(share.share) + " (" + percent(share.lower) + " to " + percent(share.upper) + ")";
}

/** A table of rows of texts; the first row is the head, and columns behind the first hold numbers. */
function table(rows) {
  const cells = (row, tag) => row.map((cell, i) => element(tag, i > 0 ? {class: "number"} : {}, cell));
  return element("div", {class: "wide"}, element("table", {},
    element("thead", {}, element("tr", {}, ...cells(rows[0], "th"))),
    element("tbody", {}, ...rows.slice(1).map(row => element("tr", {}, ...cells(row, "td"))))));
}

function section(title, text) {
  page.append(element("h2", {}, title));
  if (text) page.append(element("p", {class: "quiet"}, text));
}

function grid(...panels) {
  page.append(element("div", {class: panels.length > 1 ? "grid" : "grid one"}, ...panels));
}

function panel(title) {
  return element("div", {class: "panel"}, title ? element("h3", {}, title) : null);
}

/** A panel a run, where `fill(panel, run, i)` has something to show for it. */
function panelOfEachRun(runs, fill) {
  grid(...runs.map(run => {
    const made = panel(several ? run.name : "");
    fill(made, run, runs.indexOf(run));
    return made;
  }));
}

// ---- what it came to

function accuracyOf(run) {
  if (run.answers) return interval(run.answers.all);
  return orDash(run.test_accuracy, percent);
}

function latencyOf(run, batch) {
  const found = run.latency && run.latency.batches.find(one => one.batch === batch);
  return found ? milliseconds(found.p50) : "–";
}

const facts = [
  ["accuracy on the test set", accuracyOf],
  ["network", run => run.network.blocks],
  ["parameters", run => orDash(run.network.parameters, millions)],
  ["MACs an image", run => orDash(run.network.macs, millions)],
  ["calibration error", run => run.answers && run.answers.calibration ? percent(run.answers.calibration.error) : "–"],
  ["one image, here", run => latencyOf(run, 1)],
  ["work", run => run.finished ? orDash(run.work, work) : work(run.work) + " (of " + work(run.budget) + ")"],
  ["time", run => orDash(run.seconds, duration)],
];

function head() {
  const run = runs[0];
  page.append(element("h1", {}, several ? runs.length + " runs side by side" : run.name));
  if (several) {
    page.append(table([["", ...runs.map(one => one.name)], ...facts.map(([name, of]) => [name, ...runs.map(of)])]));
  } else {
    const began = run.utc ? ", begun " + run.utc.replace("T", " ").replace("Z", " UTC") : "";
    page.append(element("p", {class: "quiet"}, [run.data, run.strategy === "train" ? "plain training" : "search by " + run.strategy,
      run.variant + " blocks", "seed " + run.seed, run.device].filter(Boolean).join(" · ") + began));
    page.append(element("div", {class: "figures"}, ...facts.filter(([, of]) => of(run) !== "–").map(([name, of]) => {
      const [value, ...rest] = of(run).split(" (");
      return element("div", {class: "figure"}, element("b", {}, value), element("span", {}, name + (rest.length ? " (" + rest.join(" (") : "")));
    })));
  }
  for (const one of runs) {
    for (const note of one.notes) page.append(element("p", {class: "note"}, (several ? one.name + ": " : "") + note));
  }
}

// ---- how it grew

function drawnStep(step, number, count) {
  return element("div", {class: "step"},
    element("p", {}, (count > 1 ? number + 1 + " of " + count + ": " : "") + step.blocks + ", " + step.label + (step.work > 0 ? ", after " + work(step.work) : "")),
    ...step.stages.map((stage, i) => element("div", {class: "stage"},
      element("span", {}, stage.maps || "stage " + (i + 1)),
      element("div", {class: "blocks"}, ...["kept", "fresh", "out"].flatMap(kind =>
        Array.from({length: stage[kind]}, () => element("div", {class: "block " + kind, title: kind})))))));
}

function growth() {
  const grew = runs.some(run => run.growth.length > 1);
  section(grew ? "The network as it grew" : "The network", "A row is a stage (the size of its feature maps x channels), a square a residual block of two 3x3 convolutions.");
  panelOfEachRun(runs, (made, run) => {
    const steps = run.growth.map((step, i) => drawnStep(step, i, run.growth.length));
    const last = steps.length - 1;
    const slider = element("input", {type: "range", min: 0, max: last, value: last, "aria-label": "step"});
    const show = number => {
      slider.value = number;
      steps.forEach((step, i) => step.classList.toggle("shown", i === number));
    };
    const play = element("button", {type: "button"}, "Play");
    play.addEventListener("click", () => {
      for (let i = 0; i <= last; ++i) setTimeout(show, 900 * i, i);
    });
    slider.addEventListener("input", () => show(Number(slider.value)));
    if (last > 0) made.append(element("div", {class: "controls"}, play, slider));
    made.append(...steps);
    if (last > 0) {
      made.append(element("p", {}, ...[["kept", "there before"], ["fresh", "new"], ["out", "not kept"]].map(([kind, text]) =>
        element("span", {class: "key"}, element("span", {class: "block " + kind}), text))));
    }
    show(last);
  });
}

// ---- training

function lines(id, parent, y, curves, moments) {
  const largest = Math.max(...runs.flatMap(run => run.epochs.map(epoch => epoch.work)));
  addChart(parent, id, 280, colours => ({
    type: "line",
    data: {datasets: runs.flatMap((run, i) => curves.map(({key, name, dash}, k) => {
      const colour = colours.series[(several ? i : k) % 7];
      return {
        label: [several ? run.name : "", name].filter(Boolean).join(", "),
        data: run.epochs.filter(epoch => isNumber(epoch[key])).map(epoch => ({x: epoch.work, y: epoch[key]})),
        borderColor: colour, backgroundColor: colour, borderDash: dash || [], borderWidth: 2, pointRadius: run.epochs.length > 40 ? 0 : 2.5,
      };
    })).filter(dataset => dataset.data.length > 0)},
    options: options(workAxis(largest), y, {plugins: {tooltip: {callbacks: {title: items => work(items[0].raw.x)}}}}),
    plugins: [uprightLines(moments)],
  }));
}

function training() {
  if (!runs.some(run => run.epochs.length > 0)) return;
  const moments = several ? [] : runs[0].growth.slice(1).map(step => ({x: step.work, text: step.blocks}));
  section("Training", "A point an epoch, over the work done so far. Training figures are those of augmented images, as they were trained on"
    + (moments.length ? "; dashed lines are where the network changed." : "."));
  const validated = key => runs.some(run => run.epochs.some(epoch => isNumber(epoch[key])));
  const both = (key, held) => [{key, name: validated(held) ? "training" : ""}, {key: held, name: "held out", dash: [5, 4]}];
  const [loss, accuracy, rate] = [panel("Loss"), panel("Accuracy"), panel("Learning rate")];
  grid(loss, accuracy, rate);
  const one = runs.every(run => run.epochs.length < 2);  // a single value spans no axis
  lines("loss", loss, axis("cross entropy, nats", one ? {min: 0} : {}), both("loss", "validation_loss"), moments);
  lines("accuracy", accuracy, axis("accuracy", {...percentTicks, ...(one ? {min: 0, max: 1} : {})}), both("accuracy", "validation_accuracy"), moments);
  lines("rate", rate, axis("learning rate", {min: 0}), [{key: "rate", name: ""}], moments);
}

// ---- scores and decisions

const criteria = {
  ablation: "loss on held-out images that a stage's new blocks save, nats",
  vip: "mean variable importance in projection of the stage's features", r2y: "share of the labels' variance that the stage's features explain",
  probe: "held-out accuracy of a linear classifier on the stage's features", random: "drawn at random, a control", uniform: "the same for every stage, a control",
};

function decisions() {
  const decided = runs.filter(run => run.decisions.length > 0);
  if (decided.length === 0) return;
  const rises = decided.some(run => run.decisions.some(decision => decision.compared === "rise"));
  section("What was measured, and what it led to", "A point is a stage's score, the bar its 95% interval. " + (rises
    ? "By the paper's rule, which looks at the points alone, a stage grows whose score rose by more than the margin."
    : "Where the whole bar lies beyond the margin, the measurement decides; where the margin lies within it, it doesn't, and the plan does, which reads no score."));
  panelOfEachRun(decided, (made, run) => {
    run.decisions.forEach((decision, i) => {
      const measured = criteria[decision.criterion] || decision.criterion;
      made.append(element("h3", {}, decision.title));
      if (decision.stages.some(stage => isNumber(stage.score))) {
        intervalChart(made, "scores-" + runs.indexOf(run) + "-" + i, decision.stages.map((_, stage) => "stage " + (stage + 1)),
          [{label: "", values: decision.stages.map(({score, lower, upper}) => ({value: score, lower, upper,
            tip: tidy(score) + (isNumber(lower) ? " (" + tidy(lower) + " to " + tidy(upper) + ")" : "")}))}],
          axis((decision.compared === "rise" ? "by how much it rose: " : "") + measured), [{x: decision.margin, text: "margin"}]);
      }
      made.append(element("ul", {}, ...decision.stages.map((stage, k) => element("li", {}, "Stage " + (k + 1) + ": " + stage.reason + "."))));
    });
  });
}

// ---- accuracy against size

function sizes() {
  const of = (list, key) => list.filter(network => isNumber(network[key])).map(network => ({x: network[key], y: Math.max(1 - network.accuracy, 0.001), text: network.name || network.blocks}));
  const kinds = [["test", "test set", "circle"], ["held-out", "held-out images", "rect"], ["training", "training images, when it was replaced", "crossRot"]];
  const cifar10 = runs.some(run => String(run.data).startsWith("CIFAR-10,"));
  const configure = (key, name) => colours => {
    const datasets = [
      ...runs.flatMap((run, i) => kinds.map(([kind, text, style]) => {
        const colour = colours.series[several ? i % 7 : 0];
        return {label: (several ? run.name : "this run") + ", " + text, data: of(run.networks.filter(network => network.measured_on === kind), key),
                pointStyle: style, pointRadius: 6, borderWidth: 2, borderColor: colour, backgroundColor: kind === "test" ? colour : "transparent"};
      })),
      ...(cifar10 ? [["He et al. 2016", "triangle", 2], ["the paper's networks", "rectRot", 3]] : []).map(([group, style, i]) =>
        ({label: group + ", test set", data: of(known.filter(network => network.group === group), key), pointStyle: style, pointRadius: 6,
          borderColor: colours.series[i], backgroundColor: colours.series[i]})),
    ].filter(dataset => dataset.data.length > 0);
    const points = datasets.flatMap(dataset => dataset.data);
    return {
      type: "scatter", data: {datasets}, plugins: [pointTexts],
      options: options(sizeAxis(name, points.map(point => point.x)), errorAxis(points.map(point => point.y)),
        {plugins: {tooltip: {callbacks: {label: item => item.raw.text + ": " + percent(1 - item.raw.y) + ", " + millions(item.raw.x)}}}}),
    };
  };
  if (!runs.some(run => run.networks.some(network => isNumber(network.macs)))) return;
  section("Accuracy against size", "All networks of " + (several ? "the runs" : "the run") + ". Accuracies on images that a network was being trained on say little about new ones: they are crosses."
    + (cifar10 ? " The marks are published figures on CIFAR-10's test set, after far more training than a short run's." : ""));
  const [parameters, macs] = [panel("Parameters"), panel("Multiply-accumulates")];
  grid(parameters, macs);
  addChart(parameters, "size-parameters", 340, configure("parameters", "parameters, running statistics counted"));
  addChart(macs, "size-macs", 340, configure("macs", "multiply-accumulates an image"));
}

// ---- its answers

function answers() {
  const answered = runs.filter(run => run.answers);
  if (answered.length === 0) return;
  section("Its answers, class by class", "On the test set, which was opened once, when everything was decided. Intervals are Wilson's, 95%.");
  // Runs on other data have other classes; those of the first decide what is set beside each other.
  const names = answered[0].answers.classes.map(one => one.name);
  const alike = answered.filter(run => run.answers.classes.length === names.length);
  const order = names.map((_, i) => i).sort((a, b) => answered[0].answers.classes[b].share - answered[0].answers.classes[a].share);
  const byClass = panel("Accuracy by class");
  grid(byClass);
  intervalChart(byClass, "classes", order.map(i => names[i]), alike.map(run => ({label: several ? run.name : "", values: order.map(i => {
    const {share, lower, upper, of} = run.answers.classes[i];
    return of > 0 ? {value: share, lower, upper, tip: names[i] + ": " + interval({share, lower, upper}) + " of " + of} : {};
  })})), axis("accuracy", percentTicks));

  section("What is taken for what", "A row is what an image shows, a column what the network said. The darker, the more often.");
  panelOfEachRun(answered, (made, run, i) => names.length > 20 ? frequentConfusions(made, run, i) : made.append(matrix(run)));

  const sure = answered.filter(run => run.answers.calibration);
  if (sure.length > 0) calibration(sure);
  mistakes(answered.filter(run => run.answers.mistakes && run.answers.mistakes.length > 0));
}

function matrix(run) {
  const classes = run.answers.classes;
  const count = new Map(run.answers.confusions.map(([label, said, images]) => [label + " " + said, images]));
  const most = Math.max(1, ...count.values());
  const cell = (label, said) => {
    const images = label === said ? classes[label].count : count.get(label + " " + said) || 0;
    const made = element("td", {title: classes[label].name + " taken for " + classes[said].name}, images ? thousands(images) : "");
    made.style.setProperty("--tint", label === said ? "var(--series-3)" : "var(--series-2)");
    made.style.setProperty("--share", 0.75 * (label === said ? classes[label].share : images / most));
    return made;
  };
  return element("div", {class: "wide"}, element("table", {class: "matrix"},
    element("thead", {}, element("tr", {}, element("th"), ...classes.map(one => element("th", {title: one.name}, element("div", {}, one.name))))),
    element("tbody", {}, ...classes.map((one, label) =>
      element("tr", {}, element("th", {title: one.name}, one.name), ...classes.map((_, said) => cell(label, said)))))));
}

/** Of many classes: the most frequent mistakes by name, and where all of them lie. */
function frequentConfusions(made, run, i) {
  const classes = run.answers.classes;
  const most = Math.max(1, ...run.answers.confusions.map(([, , images]) => images));
  addChart(made, "confusions-" + i, 420, colours => ({
    type: "bubble",
    data: {datasets: [{data: run.answers.confusions.map(([label, said, images]) => ({x: said, y: label, r: 1 + 6 * Math.sqrt(images / most), images})),
                       backgroundColor: colours.series[1] + "99"}]},
    options: options(axis("said to be class number", {min: -1, max: classes.length}), axis("is of class number", {min: -1, max: classes.length, reverse: true}),
      {plugins: {legend: {display: false}, tooltip: {callbacks: {label: item => classes[item.raw.y].name + " taken for " + classes[item.raw.x].name + ", " + item.raw.images + " times"}}}}),
  }));
  made.append(table([["is", "said to be", "times", "of"], ...run.answers.confusions.slice(0, 15).map(([label, said, images]) =>
    [classes[label].name, classes[said].name, thousands(images), thousands(classes[label].of)])]));
}

function calibration(sure) {
  section("Does it know when it is wrong?", "Of the images that it is 80% sure of, 80% should be right: points on the dashed line. Below it the network is too sure of itself, above it not sure enough. "
    + "The larger the point, the more images; bars are 95% intervals. The error (ECE) is the mean distance from the line over the images, in 15 bins.");
  const reliability = panel("");
  const figures = panel("");
  grid(reliability, figures);
  addChart(reliability, "reliability", 340, colours => ({
    type: "scatter",
    data: {datasets: [
      ...sure.flatMap((run, i) => {
        const bins = run.answers.calibration.bins.filter(bin => bin.images > 0);
        const colour = colours.series[i % 7];
        return [
          {label: run.name, data: bins.map(bin => ({x: bin.confidence, y: bin.accuracy, images: bin.images})), clip: false,
           borderColor: colour, backgroundColor: colour, pointRadius: bins.map(bin => 2.5 + 9 * Math.sqrt(bin.images / run.answers.all.of))},
          {label: "", data: bins.flatMap(bin => [{x: bin.confidence, y: bin.lower}, {x: bin.confidence, y: bin.upper}, {x: null, y: null}]),
           showLine: true, borderColor: colour, borderWidth: 2, pointRadius: 0, pointHitRadius: 0},
        ];
      }),
      {label: "as sure as right", data: [{x: 0, y: 0}, {x: 1, y: 1}], showLine: true, borderDash: [5, 4], borderWidth: 2, borderColor: colours.quiet, pointStyle: "line", pointRadius: 0},
    ]},
    options: options(axis("how sure it is", {min: 0, max: 1, ...percentTicks}), axis("how often it is right", {min: 0, max: 1, ...percentTicks}),
      {plugins: {tooltip: {callbacks: {label: item => thousands(item.raw.images || 0) + " images: " + percent(item.raw.x) + " sure, " + percent(item.raw.y) + " right"}}}}),
  }));
  figures.append(table([["", ...sure.map(run => run.name)],
    ["images", ...sure.map(run => thousands(run.answers.all.of))],
    ["right", ...sure.map(run => percent(run.answers.all.share))],
    ["sure, on average", ...sure.map(run => percent(run.answers.calibration.confidence))],
    ["error (ECE)", ...sure.map(run => percent(run.answers.calibration.error))],
    ["loss, nats", ...sure.map(run => tidy(run.answers.loss))]]));
}

function mistakes(wrong) {
  if (wrong.length === 0) return;
  section("The surest mistakes", "The wrong answers that the network was surest of. Among them are often wrong labels.");
  panelOfEachRun(wrong, (made, run) => {
    const name = label => run.answers.classes[label].name;
    made.append(element("div", {class: "pictures"}, ...run.answers.mistakes.map(one => element("figure", {},
      one.picture ? element("img", {src: one.picture, alt: "test image " + one.image}) : null,
      element("figcaption", {}, element("b", {}, name(one.label)), ", taken for ", element("b", {}, name(one.predicted)), ", " + (100 * one.confidence).toFixed(1) + "% sure (image " + one.image + ")")))));
  });
}

// ---- when images aren't as they should be

function robustness() {
  const tried = runs.filter(run => run.robustness);
  if (tried.length === 0) return;
  section("When images aren't quite as they should be", "Accuracy on " + [...new Set(tried.map(run => thousands(run.robustness.images)))].join(" or ") + " of the test images, disturbed more and more. Noise is normal, in every value. A grey square hides a part of each image, somewhere. "
    + "Misleading changes move every value by the same amount, up or down, to where the loss rises: one step of the fast gradient sign method, by the network's own gradient. Bars are 95% intervals.");
  grid(...tried[0].robustness.curves.map((curve, k) => {
    const made = panel(capital(curve.name));
    addChart(made, "robustness-" + k, 260, colours => ({
      type: "scatter",
      data: {datasets: tried.flatMap(run => {
        const colour = colours.series[runs.indexOf(run) % 7], points = run.robustness.curves[k].points;
        return [
          {label: several ? run.name : "", data: points.map(point => ({x: point.strength, y: point.share, tip: tidy(point.strength) + ": " + interval(point)})),
           showLine: true, clip: false, borderWidth: 2, borderColor: colour, backgroundColor: colour, pointRadius: 3},
          {label: "", data: points.flatMap(point => [{x: point.strength, y: point.lower}, {x: point.strength, y: point.upper}, {x: null, y: null}]),
           showLine: true, borderColor: colour, borderWidth: 2, pointRadius: 0, pointHitRadius: 0},
        ];
      })},
      options: options(axis(curve.unit, {min: 0}), axis("accuracy", {min: 0, max: 1, ...percentTicks}),
        {plugins: {tooltip: {filter: item => Boolean(item.raw.tip), callbacks: {label: item => item.raw.tip}}}}),
    }));
    for (const run of tried) {
      const points = run.robustness.curves[k].points.filter(point => point.picture);
      if (several && points.length > 0) made.append(element("p", {class: "quiet"}, run.name));
      made.append(element("div", {class: "pictures strip"}, ...points.map(point => element("figure", {},
        element("img", {src: point.picture, alt: curve.name + ", " + tidy(point.strength)}), element("figcaption", {}, tidy(point.strength))))));
    }
    return made;
  }));
}

// ---- what it costs

function costs() {
  const timed = runs.filter(run => run.latency);
  if (timed.length > 0) {
    section("How fast it answers, here", "From images on the device to logits on the host, timed when this page was written, on " + [...new Set(timed.map(run => run.latency.device + ", feature maps in " + run.latency.maps))].join("; ")
      + ". Half of the answers came within p50, 95% within p95. " + (timed[0].latency.energy ? "Energy: " + timed[0].latency.energy + ", with all else that ran meanwhile." : "Energy: unknown, this machine doesn't tell (neither RAPL nor NVML can be read)."));
    page.append(table([["", "images at a time", "p50", "p95", "images a second", "energy an image", "timed"], ...timed.flatMap(run => run.latency.batches.map(one =>
      [run.name, thousands(one.batch), milliseconds(one.p50), milliseconds(one.p95), thousands(Math.round(one.images_per_second)), isNumber(one.joules_an_image) ? energy(one.joules_an_image) : "unknown", one.repetitions + " times"]))]));
  }
  section("What the run took", "");
  page.append(table([["", ...runs.map(run => run.name)],
    ["work", ...runs.map(run => orDash(run.work, work))],
    ["of it measuring", ...runs.map(run => isNumber(run.looking) && run.work > 0 ? percent(run.looking / run.work) : "–")],
    ["time", ...runs.map(run => orDash(run.seconds, duration))],
    ["energy", ...runs.map(run => isNumber(run.joules) ? energy(run.joules) + " in " + duration(run.joules_seconds) : "unknown")],
    ["networks trained", ...runs.map(run => orDash(run.models, thousands))],
    ["images seen", ...runs.map(run => orDash(run.images_seen, thousands))],
    ["device", ...runs.map(run => run.device || "–")],
    ["ended because", ...runs.map(run => run.finished || run.stop_reason ? run.stop_reason || "–" : "it goes on, or was stopped")]]));
}

function repeat() {
  section("How to repeat it", "The same command with the same program on the same kind of device ends with the same bits.");
  panelOfEachRun(runs, (made, run) => made.append(element("pre", {}, run.repeat.command),
    element("details", {}, element("summary", {}, "config.toml"), element("pre", {}, run.repeat.config || "not kept"))));
}

// ---- the page

[head, growth, training, decisions, sizes, answers, robustness, costs, repeat].forEach(part => part());
drawCharts();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
const onPaper = paper => {
  document.documentElement.classList.toggle("paper", paper);
  document.querySelectorAll("details").forEach(one => { one.open = paper; });
  drawCharts();
};
addEventListener("beforeprint", () => onPaper(true));
addEventListener("afterprint", () => onPaper(false));

setTimeout(() => {
  const check = {problems, requests: performance.getEntriesByType("resource").map(entry => entry.name), charts: checkCharts()};
  page.append(element("output", {id: "check", hidden: ""}, JSON.stringify(check)));
}, 0);
