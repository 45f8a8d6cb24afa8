// How a page looks: on a phone, in the light and in the dark.

import { require } from "./browser.mjs";

// Leaves the page at the size of a phone.
export async function fitsPhone(page) {
  await page.setViewportSize({ width: 360, height: 740 });
  const wide = await page.evaluate(() => [...document.querySelectorAll("body *")]
    .filter((element) => element.getClientRects().length > 0
      && !element.closest(".plyr__sr-only, .plyr__tooltip")
      && element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((element) => element.outerHTML.slice(0, 100)));
  require(wide.length === 0, `wider than a phone: ${wide.join("\n")}`);
  const scrolls = await page.evaluate(() =>
    document.documentElement.scrollWidth > document.documentElement.clientWidth);
  require(!scrolls, "the page scrolls sideways on a phone");
}

// The smallest contrast of these elements, in each color scheme.
export async function contrastsOf(page, selector) {
  const contrasts = {};
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    contrasts[colorScheme] = await page.evaluate(contrast, selector);
  }
  return contrasts;
}

// The smallest contrast of text with what is behind it (WCAG 2).
function contrast(selector) {
  const rgb = (color) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => rgb(color).slice(0, 3).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return rgb(color)[3] === 255 || !element.parentElement ? color : behind(element.parentElement);
  };
  const ratios = [...document.querySelectorAll(selector)]
    .filter((element) => element.getClientRects().length > 0)
    .map((element) => {
      const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance);
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
  return Math.min(...ratios);
}
