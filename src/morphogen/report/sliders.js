document.querySelectorAll(".slider").forEach(function (box) {
  var view = box.querySelector(".view"), ranges = box.querySelectorAll("input"), said = box.querySelector("output");
  var columns = Number(view.dataset.columns), rows = Number(view.dataset.rows);
  function share(i, n) { return n > 1 ? 100 * i / (n - 1) + "%" : "0%"; }
  function show() {
    var x = Number(ranges[0].value), y = ranges.length > 1 ? Number(ranges[1].value) : 0;
    view.style.backgroundPosition = share(x, columns) + " " + share(y, rows);
    if (said) { said.textContent = JSON.parse(said.dataset.labels)[x]; }
  }
  ranges.forEach(function (range) { range.addEventListener("input", show); });
  show();
});
