// Elements, made without markup: every text is text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children; `null` children are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

function drawing(file, name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `page/static/${file}.svg#${name}`);
  svg.append(use);
  return svg;
}

export const icon = (name) => drawing("icons", name);
export const picture = (name) => el("span", { class: "picture" }, drawing("pictures", name));

/** A button for an idea: a picture and its words. */
export function ideaButton(idea, onclick, pressed = null) {
  return el("button", { type: "button", onclick, "aria-pressed": pressed }, picture(idea.picture), el("span", {}, idea.text));
}

export const shuffled = (items) => items.map((item) => [Math.random(), item]).sort((a, b) => a[0] - b[0]).map(([, item]) => item);

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
