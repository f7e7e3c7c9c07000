// Turns the stills into figures that can be read, zoomed (drag; double click takes back) and walked through together.
(() => {
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const show = (unit, v) => v == null ? '–' : unit === 'ratio' ? (v * 100).toFixed(v < 0.01 ? 2 : 1) + ' %' :
    unit === 'seconds' ? (v < 1 ? Math.round(v * 1000) + ' ms' : v.toFixed(2) + ' s') : v >= 100 ? v.toFixed(0) : v.toFixed(2);
  const tick = (unit, v) => unit === 'ratio' ? +(v * 100).toFixed(2) + ' %' : unit === 'seconds' ? (v && v < 1 ? +(v * 1000).toFixed(1) + ' ms' : +v.toFixed(2) + ' s') : String(+v.toFixed(2));
  const shade = bands => u => {
    const {ctx} = u, {left, top, width, height} = u.bbox;
    ctx.save();
    ctx.beginPath(); ctx.rect(left, top, width, height); ctx.clip();
    for (const [from, to, label] of bands) {
      const a = u.valToPos(from, 'x', true), b = u.valToPos(to, 'x', true);
      ctx.fillStyle = css('--band'); ctx.fillRect(a, top, Math.max(1, b - a), height);
    }
    ctx.restore();
  };
  const name = bands => u => { // above the curves, with a rim in the colour of the page
    const {ctx} = u, px = devicePixelRatio;
    ctx.save();
    ctx.font = 11 * px + 'px system-ui'; ctx.lineWidth = 3 * px; ctx.lineJoin = 'round'; ctx.textAlign = 'left'; ctx.textBaseline = 'alphabetic';
    ctx.strokeStyle = css('--card'); ctx.fillStyle = css('--bad');
    const ends = []; // of the names on each line: one that would stand on another goes below it
    for (const [from, , label] of bands) {
      const x = u.valToPos(from, 'x', true) + 4 * px;
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      let line = ends.findIndex(end => end < x);
      if (line < 0) line = ends.length;
      ends[line] = x + ctx.measureText(label).width + 4 * px;
      const y = u.bbox.top + (12 + 13 * line) * px;
      ctx.strokeText(label, x, y); ctx.fillText(label, x, y);
    }
    ctx.restore();
  };
  const plots = [], sync = uPlot.sync('run');
  const make = f => {
    const d = JSON.parse(f.querySelector('script').textContent), still = f.querySelector('svg');
    const axis = {stroke: css('--soft'), grid: {stroke: css('--line'), width: 1}, ticks: {show: false}, font: '11px system-ui'};
    const u = new uPlot({
      width: f.clientWidth, height: 190, cursor: {sync: {key: sync.key}, drag: {x: true, y: false}}, hooks: {drawClear: [shade(d.bands)], draw: [name(d.bands)]},
      scales: {x: {time: false}, y: {range: (_, lo, hi) => [0, hi > 0 ? hi * 1.08 : 1]}},
      axes: [{...axis, size: 28, values: (_, v) => v.map(t => t + ' s')}, {...axis, size: 62, values: (_, v) => v.map(x => tick(d.unit, x))}],
      series: [{label: '', value: (_, v) => v == null ? '' : v.toFixed(1) + ' s'},
        ...d.names.map((name, i) => ({label: name, stroke: css('--c' + i % 6), width: 1.6, points: {show: false}, value: (_, v) => v == null ? '' : show(d.unit, v)}))],
    }, d.data, f.querySelector('.plot'));
    still.remove();
    plots.push([u, f]);
  };
  // Only what is about to be seen is drawn: a long report opens at once.
  const watcher = new IntersectionObserver(all => {
    for (const e of all) if (e.isIntersecting) { watcher.unobserve(e.target); make(e.target); }
  }, {rootMargin: '400px'});
  document.querySelectorAll('figure.curves').forEach(f => watcher.observe(f));
  addEventListener('beforeprint', () => document.querySelectorAll('figure.curves').forEach(f => { if (f.querySelector('.plot:empty')) { watcher.unobserve(f); make(f); } }));
  addEventListener('resize', () => plots.forEach(([u, f]) => u.setSize({width: f.clientWidth, height: 190})));
})();
