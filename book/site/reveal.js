// A link to something that is closed opens it.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target?.parentElement; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target?.scrollIntoView();
}
document.addEventListener("DOMContentLoaded", () => location.hash && reveal());
window.addEventListener("hashchange", reveal);
