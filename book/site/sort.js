// A click on a column's heading sorts its table; a second click turns the order round.
document.addEventListener("DOMContentLoaded", () => {
  const number = text => parseFloat(text.replace(/[,–]/g, ""));
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b);
    return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : x - y;
  };
  for (const table of document.querySelectorAll(".medsam-table table")) {
    const body = table.tBodies[0];
    if (!table.tHead || !body || body.rows.length < 3) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.className = "medsam-sort";
      button.title = "Sort by this column";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const text = row => row.cells[column]?.textContent.trim() ?? "";
        // Empty cells stay last in either order.
        const rows = [...body.rows].sort((a, b) =>
          !text(a) - !text(b) || (down ? -1 : 1) * compare(text(a), text(b)));
        body.append(...rows);
      });
    });
  }
});
