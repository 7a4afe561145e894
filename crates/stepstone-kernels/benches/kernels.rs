//! Speed of each kernel at the sizes of a training step: 32 sequences of about 39 tokens, encoders of width 256 (S of
//! bench/README.md) and 768 (B). Run with `cargo bench -p stepstone-kernels`.
//!
//! An item is one floating-point operation for `peak`, the products and attention, where the rate over that of `peak`
//! at the same number of threads is the share of the machine's FMA rate; for the others it is one element.

use divan::Bencher;
use divan::counter::ItemsCount;
use stepstone_kernels::Write;
use stepstone_kernels::attention::{self, Inputs, Qkv, QkvGradient};
use stepstone_kernels::gemm::{self, Shape};
use stepstone_kernels::layer_norm::{self, Gradients, Norm, Saved, Sum};
use stepstone_kernels::optimizer::{self, AdamW};
use stepstone_kernels::peak;
use stepstone_kernels::philox::{Dropout, normal};
use stepstone_kernels::threads::Threads;

fn main() {
    divan::main();
}

const THREADS: [usize; 2] = [1, 2];
/// Tokens of a batch.
const TOKENS: usize = 32 * 39;
/// The linear layers of an encoder layer: inputs and outputs of QKV, output, and both of the feed-forward block.
const LAYERS: [(usize, usize); 4] = [(256, 768), (256, 1024), (1024, 256), (768, 3072)];

fn pool(count: usize) -> Threads {
    Threads::new(count).expect("threads start")
}

fn random(stream: u32, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| normal(1, stream, i) as f32).collect()
}

#[divan::bench(args = THREADS)]
fn peak(bencher: Bencher<'_, '_>, threads: usize) {
    let (pool, steps) = (pool(threads), 100_000);
    bencher.counter(ItemsCount::new(peak::flops(&pool, steps))).bench(|| peak::fused_multiply_adds(&pool, steps));
}

mod linear {
    use super::{Bencher, ItemsCount, LAYERS, Shape, THREADS, TOKENS, Write, gemm, pool, random};

    fn flops(shape: Shape) -> ItemsCount {
        ItemsCount::new(2 * shape.rows * shape.inputs * shape.outputs)
    }

    fn shape((inputs, outputs): (usize, usize)) -> Shape {
        Shape { rows: TOKENS, inputs, outputs }
    }

    #[divan::bench(args = LAYERS, consts = THREADS)]
    fn forward<const N: usize>(bencher: Bencher<'_, '_>, layer: (usize, usize)) {
        let (pool, shape) = (pool(N), shape(layer));
        let (x, w, bias) =
            (random(1, shape.rows * shape.inputs), random(2, shape.inputs * shape.outputs), random(3, shape.outputs));
        let mut y = vec![0.0; shape.rows * shape.outputs];
        bencher
            .counter(flops(shape))
            .bench_local(|| pool.within(|| gemm::forward(&pool, shape, &x, &w, Some(&bias), &mut y)));
    }

    #[divan::bench(args = LAYERS, consts = THREADS)]
    fn data_gradient<const N: usize>(bencher: Bencher<'_, '_>, layer: (usize, usize)) {
        let (pool, shape) = (pool(N), shape(layer));
        let (dy, w) = (random(1, shape.rows * shape.outputs), random(2, shape.inputs * shape.outputs));
        let mut dx = vec![0.0; shape.rows * shape.inputs];
        bencher
            .counter(flops(shape))
            .bench_local(|| pool.within(|| gemm::data_gradient(&pool, shape, &dy, &w, Write::Overwrite, &mut dx)));
    }

    #[divan::bench(args = LAYERS, consts = THREADS)]
    fn weight_gradient<const N: usize>(bencher: Bencher<'_, '_>, layer: (usize, usize)) {
        let (pool, shape) = (pool(N), shape(layer));
        let (dy, x) = (random(1, shape.rows * shape.outputs), random(2, shape.rows * shape.inputs));
        let (mut dw, mut db) = (vec![0.0; shape.inputs * shape.outputs], vec![0.0; shape.outputs]);
        bencher.counter(flops(shape)).bench_local(|| {
            pool.within(|| gemm::weight_gradient(&pool, shape, &dy, &x, Write::Overwrite, &mut dw, &mut db));
        });
    }
}

mod heads {
    use super::{Bencher, Dropout, Inputs, ItemsCount, Qkv, QkvGradient, THREADS, attention, pool, random};

    const HEADS: [(usize, usize); 3] = [(4, 64), (12, 32), (12, 64)];

    struct Batch {
        shape: attention::Shape,
        cu_seqlens: Vec<u32>,
        keys: Vec<u32>,
        qkv: Vec<f32>,
        dropout: Dropout,
        flops: usize,
    }

    impl Batch {
        fn inputs(&self) -> Inputs<'_> {
            let dropout = Some((self.dropout, &self.keys[..]));
            Inputs { shape: self.shape, cu_seqlens: &self.cu_seqlens, qkv: Qkv::All { qkv: &self.qkv }, dropout }
        }
    }

    /// 32 sequences of 24 to 54 tokens.
    fn batch((heads, head_dim): (usize, usize)) -> Batch {
        let mut cu_seqlens = vec![0];
        let (mut keys, mut pairs) = (vec![], 0);
        for s in 0..32u32 {
            // The lengths vary as in a real batch, so that work items differ in size.
            let len = 24 + 7 * s % 31;
            keys.extend((0..len).map(|i| 65_536 * s + i));
            pairs += (len * len) as usize;
            cu_seqlens.push(keys.len() as u32);
        }
        let qkv = random(1, keys.len() * 3 * heads * head_dim);
        let dropout = Dropout::new(0.1, 1, 1, 64).expect("a probability above 0");
        let shape = attention::Shape { heads, head_dim };
        Batch { shape, cu_seqlens, keys, qkv, dropout, flops: 4 * pairs * heads * head_dim }
    }

    #[divan::bench(args = HEADS, consts = THREADS)]
    fn forward<const N: usize>(bencher: Bencher<'_, '_>, heads: (usize, usize)) {
        let (pool, b) = (pool(N), batch(heads));
        let (mut out, mut lse) = (vec![0.0; b.qkv.len() / 3], vec![0.0; b.keys.len() * heads.0]);
        let inputs = b.inputs();
        bencher.counter(ItemsCount::new(b.flops)).bench_local(|| {
            attention::forward(&pool, inputs, &mut out, Some(&mut lse));
        });
    }

    #[divan::bench(args = HEADS, consts = THREADS)]
    fn backward<const N: usize>(bencher: Bencher<'_, '_>, heads: (usize, usize)) {
        let (pool, b) = (pool(N), batch(heads));
        let (mut out, mut lse) = (vec![0.0; b.qkv.len() / 3], vec![0.0; b.keys.len() * heads.0]);
        let inputs = b.inputs();
        attention::forward(&pool, inputs, &mut out, Some(&mut lse));
        let (d_out, mut d_qkv) = (random(2, out.len()), vec![0.0; b.qkv.len()]);
        // Five products: the scores again, and those with Q, K, V and the probabilities.
        bencher.counter(ItemsCount::new(b.flops / 2 * 5)).bench_local(|| {
            let gradient = QkvGradient::All { qkv: &mut d_qkv };
            attention::backward(&pool, inputs, &out, &lse, &d_out, gradient);
        });
    }
}

mod norm {
    use super::{
        Bencher, Dropout, Gradients, ItemsCount, Norm, Saved, Sum, THREADS, TOKENS, Write, layer_norm, pool, random,
    };

    const EPSILON: f32 = 1e-12;

    #[divan::bench(args = [256, 768], consts = THREADS)]
    fn forward<const N: usize>(bencher: Bencher<'_, '_>, hidden: usize) {
        let (pool, len) = (pool(N), TOKENS * hidden);
        let (x, residual, gain) = (random(1, len), random(2, len), random(3, hidden));
        let keys: Vec<u32> = (0..TOKENS as u32).collect();
        let dropout = Dropout::new(0.1, 1, 1, 64).expect("a probability above 0");
        let [mut out, mut normalized] = [0; 2].map(|_| vec![0.0; len]);
        let mut rstd = vec![0.0; TOKENS];
        bencher.counter(ItemsCount::new(len)).bench_local(|| {
            let saved = Some(Saved { normalized: &mut normalized, rstd: &mut rstd });
            let sum = Sum { x: &x, residual: Some(&residual), dropout: Some((dropout, &keys[..])) };
            let norm = Norm { gain: &gain, bias: &gain, epsilon: EPSILON };
            layer_norm::forward(&pool, sum, norm, &mut out, saved);
        });
    }

    #[divan::bench(args = [256, 768], consts = THREADS)]
    fn backward<const N: usize>(bencher: Bencher<'_, '_>, hidden: usize) {
        let (pool, len) = (pool(N), TOKENS * hidden);
        let (d_out, normalized, gain) = (random(1, len), random(2, len), random(3, hidden));
        let (keys, rstd): (Vec<u32>, _) = ((0..TOKENS as u32).collect(), vec![1.0; TOKENS]);
        let dropout = Dropout::new(0.1, 1, 1, 64).expect("a probability above 0");
        let [mut d_residual, mut d_x] = [0; 2].map(|_| vec![0.0; len]);
        let [mut d_gain, mut d_bias] = [0; 2].map(|_| vec![0.0; hidden]);
        bencher.counter(ItemsCount::new(len)).bench_local(|| {
            let gradients = Gradients {
                residual: Some((&mut d_residual, Write::Overwrite)),
                x: &mut d_x,
                gain: &mut d_gain,
                bias: &mut d_bias,
            };
            layer_norm::backward(&pool, &gain, &normalized, &rstd, &d_out, Some((dropout, &keys[..])), gradients);
        });
    }
}

mod update {
    use super::{AdamW, Bencher, ItemsCount, THREADS, optimizer, pool};

    const LEN: usize = 11_000 * optimizer::CHUNK; // the parameters of S

    #[divan::bench(args = THREADS)]
    fn gradient_norm(bencher: Bencher<'_, '_>, threads: usize) {
        let (pool, grads) = (pool(threads), vec![1e-3; LEN]);
        bencher.counter(ItemsCount::new(LEN)).bench_local(|| optimizer::gradient_norm(&pool, &grads));
    }

    #[divan::bench(args = THREADS)]
    fn adamw(bencher: Bencher<'_, '_>, threads: usize) {
        let pool = pool(threads);
        let [mut params, mut grads, mut m, mut v] = [0; 4].map(|_| vec![1e-3; LEN]);
        let decays = vec![true; LEN / optimizer::CHUNK];
        let options = AdamW {
            learning_rate: 1e-5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            step: 3,
            bias_correction: true,
            gradient_scale: 1.0,
        };
        bencher.counter(ItemsCount::new(LEN)).bench_local(|| {
            optimizer::adamw(&pool, &options, &decays, &mut params, &mut grads, &mut m, &mut v);
        });
    }
}
