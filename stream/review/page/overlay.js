// Boxes and names over the picture, drawn from the record.

export class Overlay {
  // `tracks` have frames and boxes in `units` of the picture's width and height.
  constructor(canvas, tracks, frames, units) {
    this.canvas = canvas;
    this.faces = Array.from({ length: frames }, () => []);
    for (const { track, frames: on, boxes } of tracks) {
      on.forEach((index, at) => {
        const box = boxes.slice(4 * at, 4 * at + 4).map((value) => value / units);
        this.faces[index].push({ track, box });
      });
    }
    for (const faces of this.faces) faces.sort((a, b) => a.box[0] - b.box[0]);
  }

  on(index) { return this.faces[index] ?? []; }

  // The smallest face at a point, in parts of the picture's width and height.
  at(index, x, y) {
    const size = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    const hit = this.on(index).filter(({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]);
    return hit.sort((a, b) => size(a) - size(b))[0]?.track ?? null;
  }

  draw(index, nameOf, selected) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const line = Math.max(2, Math.round(2 * scale));
    const size = Math.round(Math.max(13 * scale, height / 30));
    pen.font = `600 ${size}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    for (const { track, box } of this.on(index)) {
      const [x, y, right, bottom] = [box[0] * width, box[1] * height, box[2] * width, box[3] * height];
      const name = nameOf(track);
      if (track === selected) this.frame(pen, x, y, right, bottom, 3 * line, "#8ab4ff");
      pen.setLineDash(name ? [] : [3 * line, 2 * line]);
      this.frame(pen, x, y, right, bottom, line, name ? "#e02020" : "#e4e4e4");
      pen.setLineDash([]);
      if (name) this.plate(pen, x, y, name, size, width);
    }
  }

  frame(pen, x, y, right, bottom, line, colour) {
    pen.lineWidth = line;
    pen.strokeStyle = colour;
    pen.strokeRect(x, y, right - x, bottom - y);
  }

  plate(pen, x, y, name, size, width) {
    const room = size * 0.35;
    const long = Math.min(pen.measureText(name).width + 2 * room, width);
    const left = Math.max(0, Math.min(x, width - long));
    const top = Math.max(0, y - size * 1.4);
    pen.fillStyle = "#c01414";
    pen.fillRect(left, top, long, size * 1.4);
    pen.fillStyle = "#fff";
    pen.fillText(name, left + room, top + size * 0.74, long - 2 * room);
  }
}
