
document.querySelectorAll('figure').forEach(function (figure) {
  var read = figure.querySelector('.read');
  var rest = 'Point at the plot, or touch it, to read a moment.';
  if (!figure.querySelector('.hit')) return;
  figure.querySelectorAll('.hit title').forEach(function (title) {
    title.parentNode.said = title.textContent;
    title.remove();
  });
  var last = null;
  function show(event) {
    var said = event.target.said;
    if (last) last.removeAttribute('class');
    last = said ? event.target : null;
    if (last) last.setAttribute('class', 'on');
    read.textContent = said || rest;
  }
  read.textContent = rest;
  figure.addEventListener('pointermove', show);
  figure.addEventListener('pointerdown', show);
});
