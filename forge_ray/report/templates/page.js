"use strict";
(() => {
  const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false, typesetMath: false };
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const isNarrow = () => window.innerWidth < 640;

  /** What all drawings share, in the colours of the page. */
  function layout(more) {
    const axis = { gridcolor: color("grid"), linecolor: color("line"), zerolinecolor: color("line"), automargin: true };
    const found = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: isNarrow() ? false : "zoom",
      font: { family: "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif", size: 13, color: color("ink") },
      hoverlabel: { bgcolor: color("card"), bordercolor: color("line"), font: { color: color("ink") }, namelength: -1 },
      margin: { l: 12, r: 12, t: 12, b: 12 }, ...more,
    };
    for (const name of Object.keys(found).filter((key) => /^[xy]axis\d*$/.test(key))) {
      found[name] = { ...axis, ...found[name] };
    }
    return found;
  }

  /** A category axis: labels stay text, however they look. */
  const categories = (dimension) => ({ type: "category", title: { text: dimension.name }, categoryorder: "array",
                                       categoryarray: dimension.labels });

  const colorbar = (more) => isNarrow()
    ? { orientation: "h", thickness: 12, y: -0.28, yanchor: "top", outlinewidth: 0, ...more }
    : { thickness: 14, outlinewidth: 0, ...more };

  const transposed = (rows) => rows[0].map((_, k) => rows.map((row) => row[k]));

  function selection(section) {
    return Object.fromEntries(new FormData(section.querySelector("form")));
  }

  /** Each draws one panel into its section; called again when a choice, the width or the colours change. */
  const draw = {
    heatmap(section, plot, data) {
      const chosen = selection(section);
      const metric = data.metrics[chosen.metric];
      const i = Math.max(0, data.names.indexOf(chosen.x)), j = Math.max(0, data.names.indexOf(chosen.y));
      return i === j ? lines(plot, data, i, chosen.metric, metric) : cells(plot, data, i, j, chosen, metric);
    },

    stability(section, plot, all) {
      const data = all[selection(section).metric];
      const ends = [Math.max(data.x[0], data.y[0]), Math.min(data.x.at(-1), data.y.at(-1))];
      const heights = data.counts.map((row) => row.map((n) => n && Math.log10(n)));
      const most = Math.max(...data.counts.flat());
      const ticks = [1, 2, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5, 1e6, 1e7]
        .filter((n) => n <= most && (most < 100 || Number.isInteger(Math.log10(n))));
      section.querySelector("[data-clipped]").textContent = data.clipped
        ? `${data.clipped.toLocaleString("en")} branches beyond the frame are drawn at its edge.` : "";
      const traces = [
        { type: "heatmap", x: data.x, y: data.y, z: heights, customdata: data.counts, colorscale: "Viridis", zmin: 0,
          zmax: Math.max(Math.log10(most), 0.3), hoverongaps: false,
          hovertemplate: `IS %{x:${data.format}}<br>OOS %{y:${data.format}}<br>%{customdata:,} branches<extra></extra>`,
          colorbar: colorbar({ title: { text: "branches" }, tickvals: ticks.map(Math.log10),
                               ticktext: ticks.map((n) => n.toLocaleString("en")) }) },
        { type: "scatter", mode: "markers", x: data.chosen.x, y: data.chosen.y, customdata: data.chosen.branch,
          marker: { size: 12, symbol: "circle-open", color: "#ff8c42", line: { width: 2.5 } },
          hovertemplate: `branch %{customdata}<br>IS %{x:${data.format}}<br>OOS %{y:${data.format}}<extra></extra>` },
      ];
      if (ends[0] < ends[1]) {
        traces.splice(1, 0, { type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip",
                              line: { color: color("ink"), dash: "dash", width: 1.5 } });
      }
      return Plotly.react(plot, traces, layout({
        showlegend: false,
        xaxis: { title: { text: `${data.label}, in sample` }, tickformat: data.format, zeroline: false },
        yaxis: { title: { text: `${data.label}, out of sample` }, tickformat: data.format, zeroline: false },
      }), CONFIG);
    },

    equity(section, plot, data) {
      const traces = [];
      let number = 0;
      for (const curve of data.curves) {
        const line = curve.is_benchmark ? { color: color("reference"), width: 1.5, dash: "dot" }
                                        : { color: color(`c${number++ % 5}`), width: 1.5 };
        const both = { type: "scatter", mode: "lines", x: data.dates, name: curve.name, legendgroup: curve.name, line };
        traces.push({ ...both, y: curve.equity, hovertemplate: "%{y:.3f}" });
        traces.push({ ...both, y: curve.drawdown, yaxis: "y2", showlegend: false, hovertemplate: "%{y:.1%}" });
      }
      const shown = data.curves.flatMap((curve) => curve.equity).filter((value) => value !== null);
      const ratio = shown.reduce((a, b) => Math.max(a, b)) / shown.reduce((a, b) => Math.min(a, b));
      const shading = data.out_of_sample ? [{
        type: "rect", xref: "x", yref: "paper", x0: data.out_of_sample[0], x1: data.out_of_sample[1], y0: 0, y1: 1,
        fillcolor: color("reference"), opacity: 0.12, line: { width: 0 }, layer: "below",
      }] : [];
      return Plotly.react(plot, traces, layout({
        shapes: shading, hovermode: isNarrow() ? "closest" : "x",
        legend: { orientation: "h", y: -0.08, yanchor: "top", x: 0, font: { size: isNarrow() ? 11 : 13 } },
        xaxis: { type: "date", anchor: "y2" },
        yaxis: { type: "log", domain: [0.38, 1], title: { text: "equity" }, tickformat: ".3~g",
                 dtick: Math.log10(ratio > 6 ? 2 : ratio > 2 ? 1.25 : 1.1) },
        yaxis2: { domain: [0, 0.33], title: { text: "drawdown" }, tickformat: ".0%" },
      }), CONFIG);
    },
  };

  function cells(plot, data, i, j, chosen, metric) {
    const [first, second] = [Math.min(i, j), Math.max(i, j)];
    const grid = data.cells[`${data.names[first]},${data.names[second]}`][`${chosen.metric},${chosen.statistic}`];
    const [x, y] = [data.dimensions[i], data.dimensions[j]];
    return Plotly.react(plot, [{
      type: "heatmap", x: x.labels, y: y.labels, z: i < j ? transposed(grid) : grid, colorscale: "Viridis",
      reversescale: metric.reversed, hoverongaps: false, xgap: 1, ygap: 1,
      hovertemplate: `%{x}<br>%{y}<br>%{z:${metric.format}}<extra></extra>`, colorbar: colorbar({ tickformat: metric.format }),
    }], layout({ xaxis: { ...categories(x), showgrid: false }, yaxis: { ...categories(y), showgrid: false } }), CONFIG);
  }

  function lines(plot, data, i, column, metric) {
    const dimension = data.dimensions[i];
    const [best, median] = ["best", "median"].map((statistic) => data.lines[i][`${column},${statistic}`]);
    const values = { best, median };
    const names = best.every((value, k) => value === median[k]) ? ["median"] : ["best", "median"];
    const traces = names.map((name, k) => ({
      type: "scatter", mode: dimension.ordered ? "lines+markers" : "markers", name, x: dimension.labels, y: values[name],
      line: { color: color(`c${k}`) }, marker: { color: color(`c${k}`), size: 7 },
      hovertemplate: `%{x}: %{y:${metric.format}}`,
    }));
    return Plotly.react(plot, traces, layout({
      showlegend: names.length > 1, xaxis: categories(dimension),
      yaxis: { title: { text: metric.label }, tickformat: metric.format },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    }), CONFIG);
  }

  const redraws = [];
  for (const section of document.querySelectorAll("section")) {
    const json = document.getElementById(`${section.dataset.panel}-data`);
    if (json === null) continue;
    const data = JSON.parse(json.textContent);
    const redraw = () => draw[section.dataset.panel](section, section.querySelector(".plot"), data)
      .then(() => { section.dataset.drawn = "yes"; });
    section.querySelector("form")?.addEventListener("change", redraw);
    section.querySelector("form")?.addEventListener("submit", (event) => event.preventDefault());
    redraws.push(redraw);
    redraw();
  }
  const all = () => redraws.forEach((redraw) => redraw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  window.matchMedia("(max-width: 639px)").addEventListener("change", all);
})();
