// The theme opens its menu and its search with labels, which the Tab key passes over. Here they become buttons.
for (const label of document.querySelectorAll("label.md-header__button")) {
  const opens = label.getAttribute("for");
  const button = document.createElement("button");
  button.type = "button";
  button.className = label.className;
  button.setAttribute("for", opens); // the theme's style sheet hides it by this where it is not needed
  button.setAttribute("aria-label", opens === "__search" ? "Search" : "Menu");
  button.append(...label.childNodes);
  button.addEventListener("click", () => label.click());
  label.before(button);
  label.style.display = "none";
}
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
