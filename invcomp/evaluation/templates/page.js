"use strict";
const byId = (id) => document.getElementById(id);
const { images } = JSON.parse(byId("data").textContent);

function fill(select, texts, first = 0) {
  const before = select.selectedIndex;
  select.replaceChildren(...texts.map((text) => new Option(text)));
  select.selectedIndex = Math.min(before < 0 ? first : before, texts.length - 1);
}

function filesShown() {
  const codec = byId("codec").value;
  return images[byId("image").selectedIndex].files.filter((file) => file.codec === codec);
}

function showImage() {
  const { original, files } = images[byId("image").selectedIndex];
  byId("original").src = original;
  fill(byId("codec"), [...new Set(files.map((file) => file.codec))]);
  showCodec();
}

function showCodec() {
  const labels = filesShown().map((file) => file.label);
  fill(byId("file"), labels, Math.floor(labels.length / 2)); // a medium size at first
  showFile();
}

function showFile() {
  const file = filesShown()[byId("file").selectedIndex];
  byId("decoded").src = file.image;
  byId("tag").textContent = file.codec;
  byId("figures").textContent = `${file.label}; ${file.figures}`;
}

function sortBy(column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const body = byId("points").tBodies[0];
  const value = (row) => row.cells[column].textContent;
  const compare = (a, b) => value(a).localeCompare(value(b), "en", { numeric: true });
  const number = (a, b) => Number(value(a)) - Number(value(b));
  const rows = [...body.rows].sort(column === 0 ? compare : number);
  body.append(...(ascending ? rows : rows.reverse()));
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

if (images.length) {
  fill(byId("image"), images.map((image) => image.name));
  byId("image").addEventListener("change", showImage);
  byId("codec").addEventListener("change", showCodec);
  byId("file").addEventListener("change", showFile);
  byId("slider").addEventListener("input", (event) => {
    byId("stage").style.setProperty("--cut", `${event.target.value}%`);
  });
  showImage();
}
[...byId("points").tHead.rows[0].cells].forEach((header, column) => {
  header.firstElementChild.addEventListener("click", () => sortBy(column, header));
});
byId("hull-only").addEventListener("change", (event) => {
  byId("points").classList.toggle("hulls-only", event.target.checked);
});
