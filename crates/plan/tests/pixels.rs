//! What the plan says of pixels: steps that cannot lead to the model's input are refused, and all of them count in the digest.

use ariann_plan::{Filter, Order, Pixels, Plan, Resize};

mod common;

fn resize(shorter: u32) -> Option<Resize> {
    Some(Resize { shorter, filter: Filter::default() })
}

#[test]
fn steps_that_lead_elsewhere_are_refused() {
    let plain = Pixels::default();
    let colour = [3, 224, 200];
    let ok = |pixels: Pixels, shape: &[usize]| assert_eq!(pixels.check(shape), Ok(()), "{pixels:?} for {shape:?}");
    let no = |pixels: Pixels, shape: &[usize], reason: &str| {
        let error = pixels.check(shape).expect_err(reason);
        assert!(error.contains(reason), "{pixels:?} for {shape:?}: {error}");
    };
    for shape in [&colour[..], &[1, 28, 28], &[28, 28], &[784], &[7]] {
        ok(plain, shape);
    }
    let crop = |height, width| Pixels { crop: Some([height, width]), ..plain };
    ok(crop(224, 200), &colour);
    ok(crop(28, 28), &[784]);
    ok(crop(28, 28), &[3 * 784]);
    no(crop(200, 224), &colour, "not the size");
    no(crop(224, 224), &colour, "not the size");
    no(crop(28, 27), &[784], "not the size");
    no(crop(0, 200), &colour, "crop is out of bounds");
    no(crop(224, Pixels::MOST_SIDE + 1), &colour, "crop is out of bounds");
    ok(Pixels { resize: resize(256), ..crop(224, 200) }, &colour);
    ok(Pixels { resize: resize(200), ..crop(224, 200) }, &colour);
    no(Pixels { resize: resize(199), ..crop(224, 200) }, &colour, "leaves less");
    ok(Pixels { resize: resize(200), ..plain }, &colour);
    no(Pixels { resize: resize(224), ..plain }, &colour, "shorter side");
    no(Pixels { resize: resize(0), ..plain }, &colour, "resize is out of bounds");
    no(Pixels { resize: resize(u32::MAX), ..plain }, &[784], "resize is out of bounds");
    let bgr = Pixels { order: Order::Bgr, ..plain };
    ok(bgr, &colour);
    ok(bgr, &[3 * 784]);
    for shape in [&[1, 28, 28][..], &[28, 28], &[784], &[4, 4, 4]] {
        no(bgr, shape, "order");
    }
}

#[test]
fn every_step_counts_in_the_digest_and_is_read_back() {
    let plan = common::plans().remove(0);
    let with = |pixels: Pixels| {
        let mut plan = plan.clone();
        plan.input.pixels = pixels;
        plan
    };
    let filtered = |filter| Pixels { resize: Some(Resize { shorter: 8, filter }), ..Pixels::default() };
    let plans: Vec<Plan> = [
        Pixels::default(),
        filtered(Filter::Nearest),
        filtered(Filter::Bilinear),
        filtered(Filter::Bicubic),
        filtered(Filter::Lanczos),
        Pixels { resize: resize(9), ..Pixels::default() },
        Pixels { crop: Some([8, 9]), ..Pixels::default() },
        Pixels { crop: Some([9, 8]), ..Pixels::default() },
        Pixels { order: Order::Bgr, ..Pixels::default() },
    ]
    .map(with)
    .into();
    for (number, plan) in plans.iter().enumerate() {
        assert!(plans[..number].iter().all(|other| other.digest() != plan.digest()), "{:?}", plan.input.pixels);
        let text = serde_json::to_string(plan).expect("a plan is JSON");
        assert_eq!(&serde_json::from_str::<Plan>(&text).expect("its own text"), plan);
    }
    let mut broken = with(Pixels { crop: Some([0, 1]), ..Pixels::default() });
    assert!(broken.check().expect_err("a crop of nothing").to_string().contains("crop is out of bounds"));
    broken.input.pixels = Pixels::default();
    assert_eq!(broken.check(), Ok(()));
}
