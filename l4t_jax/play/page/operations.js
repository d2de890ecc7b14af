// StableHLO's operations that are not element by element. Each function gets an operation, its types and attributes, and
// gives a step: a function that computes the results among all values `v` of a call.
"use strict";

const Operations = (() => {
  const {ARRAYS, kindOf, sizeOf, make, stridesOf, forEachIndex, places, dot, clamped, decode} = Arrays;
  const {compiled} = Elements;

  /** An operation that places elements: `from` has for each element of the result the place in its operand, or -1. */
  function placed(from, p, out, type, filling) {
    const array = ARRAYS[type[0]], size = from.length;
    if (filling === undefined && from.every((place, i) => place === from[0] + i)) {
      return v => { v[out] = v[p].subarray(from[0], from[0] + size); };
    }
    if (filling === undefined && from.every(place => place === 0)) return v => { v[out] = new array(size).fill(v[p][0]); };
    const text = filling === undefined ? "o[i]=x[p[i]];" : "o[i]=p[i]<0?y[0]:x[p[i]];";
    const each = compiled(`move ${type[0]}`, "x,y,p,o,n", `for(let i=0;i<n;i++)${text}`);
    return v => { const o = new array(size); each(v[p], v[filling], from, o, size); v[out] = o; };
  }

  const MOVES = {
    broadcast_in_dim({shape, operand, attributes}) {
      const strides = stridesOf(operand), axes = attributes.broadcast_dimensions;
      return places(shape, index => axes.reduce((at, axis, i) => at + (operand[i] === 1 ? 0 : index[axis] * strides[i]), 0));
    },
    slice({shape, operand, attributes: {start_indices: start, strides: steps}}) {
      const strides = stridesOf(operand);
      return places(shape, index => index.reduce((at, i, axis) => at + (start[axis] + i * steps[axis]) * strides[axis], 0));
    },
    transpose({shape, operand, attributes: {permutation}}) {
      const strides = stridesOf(operand);
      return places(shape, index => index.reduce((at, i, axis) => at + i * strides[permutation[axis]], 0));
    },
    reverse({shape, attributes: {dimensions}}) {
      const strides = stridesOf(shape);
      return places(shape, index => index.reduce(
        (at, i, axis) => at + (dimensions.includes(axis) ? shape[axis] - 1 - i : i) * strides[axis], 0));
    },
    pad({shape, operand, attributes: {edge_padding_low: low, interior_padding: inner}}) {
      const strides = stridesOf(operand);
      return places(shape, index => {
        let at = 0;
        for (let axis = 0; axis < shape.length; axis++) {
          const place = index[axis] - low[axis], step = inner[axis] + 1;
          if (place < 0 || place % step !== 0 || place / step >= operand[axis]) return -1;
          at += place / step * strides[axis];
        }
        return at;
      });
    },
  };

  /** A function (number of a batch, component) -> place of that component of its start index in the table of starts. */
  function startReader(shape, axis) {
    const strides = stridesOf(shape), step = axis < shape.length ? strides[axis] : 0;
    const rest = shape.map((_, k) => k).filter(k => k !== axis);
    const starts = places(rest.map(k => shape[k]), index => dot(index, rest.map(k => strides[k])));
    return (number, component) => starts[number] + component * step;
  }

  /** Where each batch of a gather or scatter begins by the axes that the operand and the starts share. */
  function batchesOf(batchShape, operandAxes, startAxes, vectorAxis, strides) {
    return places(batchShape, index => operandAxes.reduce(
      (at, axis, k) => at + index[startAxes[k] - (startAxes[k] > vectorAxis ? 1 : 0)] * strides[axis], 0));
  }

  function paddingOf({shape, data}) {
    const flat = Array.from(decode(data, "i64"), Number), [axes] = shape;
    return Array.from({length: axes}, (_, k) => flat.length === 1 ? [flat[0], flat[0]] : [flat[2 * k], flat[2 * k + 1]]);
  }

  /** Folds lists of elements, each into one: `windows` has the places of every list, else `places(n)` + `each`. */
  function folded(linked, {operands, results, types, number, block, elements, windows, lists, places: first, each}) {
    const listOf = windows ? n => windows[n] : n => each.map(place => first(n) + place);
    const count = windows ? windows.length : lists();
    const simple = number === 1 && linked.simple(block, elements[0]);
    if (simple) {
      const all = windows ? Int32Array.from(windows.flat()) : Int32Array.from({length: count * each.length},
        (_, i) => first(Math.floor(i / each.length)) + each[i % each.length]);
      const ends = new Int32Array(count);
      for (let n = 0, end = 0; n < count; n++) ends[n] = end += windows ? windows[n].length : each.length;
      const text = `for(let i=0,k=0;i<n;i++){let a=s;for(;k<e[i];k++){const b=x[p[k]];a=${simple};}o[i]=a;}`;
      const run = compiled(elements[0], "x,p,e,s,o,n", text), array = ARRAYS[types[0][0]];
      return v => { const o = new array(count); run(v[operands[0]], all, ends, v[operands[1]][0], o, count); v[results[0]] = o; };
    }
    const combine = linked.combine(block, elements);
    return v => {
      const made = types.map(make);
      for (let n = 0; n < count; n++) {
        let so = operands.slice(number).map(value => v[value]);
        for (const place of listOf(n)) so = combine(v, so, operands.slice(0, number).map(value => v[value].subarray(place, place + 1)));
        so.forEach((one, k) => { made[k][n] = one[0]; });
      }
      made.forEach((array, k) => { v[results[k]] = array; });
    };
  }

  // `this` is the function that is linked (`Linked` in stablehlo.js).
  const OPERATIONS = {
    constant({attributes: {value}, out, type, shape}) {
      const data = decode(value.data, type[0]), size = sizeOf(shape);
      const array = data.length === size ? data : make(type).fill(data[0]);
      return v => { v[out] = array; };
    },
    iota({attributes, out, type, shape}) {
      const array = make(type), axis = attributes.iota_dimension;
      forEachIndex(shape, (index, number) => { array[number] = kindOf(type[0]) === "B" ? BigInt(index[axis]) : index[axis]; });
      return v => { v[out] = array; };
    },
    reshape: ({p, out}) => v => { v[out] = v[p]; },
    optimization_barrier: ({operands, results}) => v => { operands.forEach((value, i) => { v[results[i]] = v[value]; }); },
    bitcast_convert: ({p, out, type}) => v => { v[out] = new ARRAYS[type[0]](v[p].slice().buffer); },
    select({p, q, r, out, type, given, shape}) {
      const array = ARRAYS[type[0]], size = sizeOf(shape);
      if (given[0].length === 1) return v => { v[out] = v[p][0] ? v[q] : v[r]; };
      const each = compiled(type[0], "c,x,y,o,n", "for(let i=0;i<n;i++)o[i]=c[i]?x[i]:y[i];");
      return v => { const o = new array(size); each(v[p], v[q], v[r], o, size); v[out] = o; };
    },
    clamp({p, q, r, out, type, given, shape}) {
      const size = sizeOf(shape), low = given[0].length > 1 ? 1 : 0, high = given[2].length > 1 ? 1 : 0;
      return v => {
        const o = make(type), x = v[q], least = v[p], most = v[r];
        for (let i = 0; i < size; i++) {
          const a = least[i * low], b = most[i * high], value = x[i] < a ? a : x[i];
          o[i] = value > b ? b : value;
        }
        v[out] = o;
      };
    },
    concatenate({operands, given, out, type, shape, attributes: {dimension}}) {
      const outer = sizeOf(shape.slice(0, dimension));
      const widths = given.map(t => sizeOf(t.slice(1 + dimension))), whole = widths.reduce((a, b) => a + b, 0);
      return v => {
        const o = make(type);
        let start = 0;
        operands.forEach((value, k) => {
          const x = v[value], width = widths[k];
          if (outer === 1) o.set(x, start);
          else for (let i = 0; i < outer; i++) for (let j = 0; j < width; j++) o[i * whole + start + j] = x[i * width + j];
          start += width;
        });
        v[out] = o;
      };
    },
    dynamic_slice({p, operands, given, out, type, shape}) {
      const operand = given[0].slice(1), strides = stridesOf(operand);
      const from = places(shape, index => dot(index, strides)), size = from.length, array = ARRAYS[type[0]];
      const axes = operands.slice(1);
      return v => {
        const o = new array(size), x = v[p];
        let start = 0;
        for (let k = 0; k < axes.length; k++) start += clamped(Number(v[axes[k]][0]), 0, operand[k] - shape[k]) * strides[k];
        for (let i = 0; i < size; i++) o[i] = x[start + from[i]];
        v[out] = o;
      };
    },
    dynamic_update_slice({p, q, operands, given, out}) {
      const operand = given[0].slice(1), update = given[1].slice(1), strides = stridesOf(operand);
      const to = places(update, index => dot(index, strides)), axes = operands.slice(2);
      return v => {
        const o = v[p].slice(), x = v[q];
        let start = 0;
        for (let k = 0; k < axes.length; k++) start += clamped(Number(v[axes[k]][0]), 0, operand[k] - update[k]) * strides[k];
        for (let i = 0; i < to.length; i++) o[start + to[i]] = x[i];
        v[out] = o;
      };
    },
    gather({p, q, given, out, type, shape, attributes: {dimension_numbers: d, slice_sizes: sizes}}) {
      const operand = given[0].slice(1), strides = stridesOf(operand), starts = startReader(given[1].slice(1), d.index_vector_dim);
      const inSlice = operand.map((_, axis) => axis).filter(
        axis => !d.collapsed_slice_dims.includes(axis) && !d.operand_batching_dims.includes(axis));
      const batchAxes = shape.map((_, axis) => axis).filter(axis => !d.offset_dims.includes(axis));
      const batchShape = batchAxes.map(axis => shape[axis]), offsets = d.offset_dims.map(axis => shape[axis]);
      const within = places(offsets, index => dot(index, inSlice.map(axis => strides[axis])));
      const outStrides = stridesOf(shape), outWithin = places(offsets, index => dot(index, d.offset_dims.map(axis => outStrides[axis])));
      const outBatch = places(batchShape, index => dot(index, batchAxes.map(axis => outStrides[axis])));
      const batches = batchesOf(batchShape, d.operand_batching_dims, d.start_indices_batching_dims, d.index_vector_dim, strides);
      return v => {
        const o = make(type), x = v[p], table = v[q];
        for (let number = 0; number < outBatch.length; number++) {
          let start = batches[number];
          d.start_index_map.forEach((axis, k) => {
            start += clamped(Number(table[starts(number, k)]), 0, operand[axis] - sizes[axis]) * strides[axis];
          });
          for (let i = 0; i < within.length; i++) o[outBatch[number] + outWithin[i]] = x[start + within[i]];
        }
        v[out] = o;
      };
    },
    scatter({operands, given, results, blocks, attributes: {scatter_dimension_numbers: d}}) {
      const number = results.length, inputs = operands.slice(0, number), updates = operands.slice(number + 1);
      const elements = given.slice(0, number).map(t => t[0]), operand = given[0].slice(1), update = given[number + 1].slice(1);
      const strides = stridesOf(operand), starts = startReader(given[number].slice(1), d.index_vector_dim);
      const inWindow = operand.map((_, axis) => axis).filter(
        axis => !d.inserted_window_dims.includes(axis) && !d.input_batching_dims.includes(axis));
      const batchAxes = update.map((_, axis) => axis).filter(axis => !d.update_window_dims.includes(axis));
      const batchShape = batchAxes.map(axis => update[axis]), windowShape = d.update_window_dims.map(axis => update[axis]);
      const batches = batchesOf(batchShape, d.input_batching_dims, d.scatter_indices_batching_dims, d.index_vector_dim, strides);
      const updateStrides = stridesOf(update);
      const fromBatch = places(batchShape, index => dot(index, batchAxes.map(axis => updateStrides[axis])));
      const simple = number === 1 && this.simple(blocks[0], elements[0]);
      const text = simple && compiled(elements[0], "a,b", `return ${simple}`);
      const combine = text ? null : this.combine(blocks[0], elements);
      return v => {
        const changed = inputs.map(value => v[value].slice()), table = v[operands[number]];
        fromBatch.forEach((batch, n) => {
          const start = new Array(operand.length).fill(0);
          d.scattered_dims_to_operand_dims.forEach((axis, k) => { start[axis] = Number(table[starts(n, k)]); });
          forEachIndex(windowShape, index => {
            let to = batches[n], from = batch;
            for (let axis = 0; axis < operand.length; axis++) {
              const k = inWindow.indexOf(axis), place = start[axis] + (k < 0 ? 0 : index[k]);
              if (place < 0 || place >= operand[axis]) return;
              to += place * strides[axis];
            }
            d.update_window_dims.forEach((axis, k) => { from += index[k] * updateStrides[axis]; });
            if (text) changed[0][to] = text(changed[0][to], v[updates[0]][from]);
            else combine(v, changed.map(x => x.slice(to, to + 1)), updates.map(value => v[value].subarray(from, from + 1)))
              .forEach((one, k) => { changed[k][to] = one[0]; });
          });
        });
        changed.forEach((array, k) => { v[results[k]] = array; });
      };
    },
    reduce({operands, given, results, types, blocks, attributes: {dimensions}}) {
      const number = results.length, operand = given[0].slice(1), strides = stridesOf(operand);
      const kept = operand.map((_, axis) => axis).filter(axis => !dimensions.includes(axis));
      const starts = places(kept.map(axis => operand[axis]), index => dot(index, kept.map(axis => strides[axis])));
      const each = places(dimensions.map(axis => operand[axis]), index => dot(index, dimensions.map(axis => strides[axis])));
      return folded(this, {operands, results, types, number, block: blocks[0], elements: given.slice(0, number).map(t => t[0]),
        lists: () => starts.length, places: n => starts[n], each});
    },
    reduce_window({operands, given, results, types, shape, blocks, attributes}) {
      const number = results.length, operand = given[0].slice(1), strides = stridesOf(operand);
      const ones = operand.map(() => 1), window = attributes.window_dimensions;
      const {window_strides: steps = ones, base_dilations: base = ones, window_dilations: dilation = ones} = attributes;
      const padding = attributes.padding ? paddingOf(attributes.padding) : operand.map(() => [0, 0]);
      const lists = [];
      forEachIndex(shape, index => {
        const list = [];
        forEachIndex(window, inner => {
          let at = 0;
          for (let axis = 0; axis < operand.length; axis++) {
            const place = index[axis] * steps[axis] + inner[axis] * dilation[axis] - padding[axis][0];
            if (place < 0 || place % base[axis] !== 0 || place / base[axis] >= operand[axis]) return;
            at += place / base[axis] * strides[axis];
          }
          list.push(at);
        });
        lists.push(list);
      });
      return folded(this, {operands, results, types, number, block: blocks[0], elements: given.slice(0, number).map(t => t[0]), windows: lists});
    },
    sort({operands, given, results, blocks, attributes: {dimension}}) {
      const shape = given[0].slice(1), axis = (dimension + shape.length) % shape.length, step = stridesOf(shape)[axis], length = shape[axis];
      const elements = given.flatMap(t => [[t[0]], [t[0]]]), run = this.inner(blocks[0], elements);
      return v => {
        const sorted = operands.map(value => v[value].slice());
        forEachIndex(shape.map((n, k) => k === axis ? 1 : n), index => {
          const start = dot(index, stridesOf(shape)), order = Array.from({length}, (_, i) => start + i * step);
          const before = (i, j) => run(v, operands.flatMap(value => [v[value].subarray(i, i + 1), v[value].subarray(j, j + 1)]))[0][0];
          order.sort((i, j) => before(i, j) ? -1 : before(j, i) ? 1 : 0);
          operands.forEach((value, k) => order.forEach((from, i) => { sorted[k][start + i * step] = v[value][from]; }));
        });
        sorted.forEach((array, k) => { v[results[k]] = array; });
      };
    },
    dot_general({p, q, given, out, type, attributes: {dot_dimension_numbers: d}}) {
      const left = given[0].slice(1), right = given[1].slice(1);
      const free = (shape, ...taken) => shape.map((_, axis) => axis).filter(axis => !taken.flat().includes(axis));
      const along = (shape, axes) => places(axes.map(axis => shape[axis]), index => dot(index, axes.map(axis => stridesOf(shape)[axis])));
      const [batchL, batchR] = [along(left, d.lhs_batching_dimensions), along(right, d.rhs_batching_dimensions)];
      const [sumL, sumR] = [along(left, d.lhs_contracting_dimensions), along(right, d.rhs_contracting_dimensions)];
      const rows = along(left, free(left, d.lhs_batching_dimensions, d.lhs_contracting_dimensions));
      const columns = along(right, free(right, d.rhs_batching_dimensions, d.rhs_contracting_dimensions));
      const sums = new Float64Array(columns.length), sum = kindOf(type[0]) === "f" ? "a*y[at+c[n]]" : "Math.imul(a,y[at+c[n]])|0";
      const each = compiled(type[0], "a,y,at,c,s", `for(let n=0;n<c.length;n++)s[n]+=${sum};`);
      return v => {
        const o = make(type), x = v[p], y = v[q];
        let place = 0;
        for (let b = 0; b < batchL.length; b++) for (let m = 0; m < rows.length; m++) {
          sums.fill(0);
          for (let k = 0; k < sumL.length; k++) each(x[batchL[b] + rows[m] + sumL[k]], y, batchR[b] + sumR[k], columns, sums);
          for (let n = 0; n < columns.length; n++) o[place++] = sums[n];
        }
        v[out] = o;
      };
    },
    convolution({p, q, given, out, type, shape, attributes}) {
      const d = attributes.dimension_numbers, input = given[0].slice(1), kernel = given[1].slice(1);
      const ones = d.input_spatial_dimensions.map(() => 1), groups = attributes.feature_group_count || 1;
      const {window_strides: steps = ones, lhs_dilation: base = ones, rhs_dilation: dilation = ones, window_reversal: turned = []} = attributes;
      if ((attributes.batch_group_count || 1) !== 1) throw new Error("convolutions of batch groups are not known here");
      const padding = attributes.padding ? paddingOf(attributes.padding) : ones.map(() => [0, 0]);
      const [si, sk, so] = [input, kernel, shape].map(stridesOf), window = d.kernel_spatial_dimensions.map(axis => kernel[axis]);
      const perGroup = kernel[d.kernel_input_feature_dimension], features = shape[d.output_feature_dimension] / groups;
      return v => {
        const o = make(type), x = v[p], w = v[q];
        forEachIndex(shape, (index, number) => {
          const feature = index[d.output_feature_dimension], group = Math.floor(feature / features);
          let sum = 0;
          forEachIndex(window, inner => {
            let from = index[d.output_batch_dimension] * si[d.input_batch_dimension] + group * perGroup * si[d.input_feature_dimension];
            let at = feature * sk[d.kernel_output_feature_dimension];
            for (let k = 0; k < window.length; k++) {
              const place = index[d.output_spatial_dimensions[k]] * steps[k] + inner[k] * dilation[k] - padding[k][0];
              if (place < 0 || place % base[k] !== 0 || place / base[k] >= input[d.input_spatial_dimensions[k]]) return;
              from += place / base[k] * si[d.input_spatial_dimensions[k]];
              at += (turned[k] ? window[k] - 1 - inner[k] : inner[k]) * sk[d.kernel_spatial_dimensions[k]];
            }
            for (let c = 0; c < perGroup; c++) {
              sum += x[from + c * si[d.input_feature_dimension]] * w[at + c * sk[d.kernel_input_feature_dimension]];
            }
          });
          o[number] = sum;
        });
        v[out] = o;
      };
    },
    while({operands, given, results, blocks}) {
      const [test, body] = blocks.map(block => this.inner(block, given));
      return v => {
        let state = operands.map(value => v[value]);
        while (test(v, state)[0][0]) state = body(v, state);
        state.forEach((array, i) => { v[results[i]] = array; });
      };
    },
    case({p, results, blocks}) {
      const branches = blocks.map(block => this.inner(block, []));
      return v => {
        const chosen = v[p][0], last = branches.length - 1;
        branches[chosen < 0 || chosen > last ? last : chosen](v, []).forEach((array, i) => { v[results[i]] = array; });
      };
    },
    call({operands, results, given, attributes}) {
      const called = this.functions(attributes.callee, given);
      return v => { called.call(operands.map(value => v[value])).forEach((array, i) => { v[results[i]] = array; }); };
    },
  };

  return {MOVES, OPERATIONS, placed};
})();
