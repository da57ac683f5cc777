// Sorts and filters the examples. Everything stands in the page; nothing is fetched.
(() => {
  const form = document.getElementById("gallery-controls");
  const gallery = document.getElementById("gallery");
  if (!form) return;
  const drawn = [...gallery.querySelectorAll("figure")];
  const gains = new Map(drawn.map((figure) => [figure, JSON.parse(figure.dataset.gains)]));
  const show = () => {
    const metric = form.metric.value, order = Number(form.order.value);
    const gain = (figure) => gains.get(figure)[metric] ?? 0;
    const sorted = order ? [...drawn].sort((a, b) => order * (gain(a) - gain(b))) : drawn;
    const wanted = form.category ? form.category.value : "";
    let shown = 0;
    for (const figure of sorted) {
      figure.hidden = wanted !== "" && figure.dataset.category !== wanted;
      shown += !figure.hidden;
      const value = gain(figure);
      const label = form.metric.selectedOptions[0]?.textContent;
      figure.querySelector(".gain").textContent =
        label ? `· ${label} ${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}` : "";
      gallery.append(figure);
    }
    form.querySelector("output").textContent = `${shown} of ${drawn.length} shown`;
  };
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
