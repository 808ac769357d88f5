//! CIFAR-10 files, class folders, and what happens to pixels before scale, mean and std.

use std::io::Write;
use std::path::{Path, PathBuf};

use ariann_data::{
    Choice, DataError, Filter, Items, Order, Pixels, Preprocess, folder_labels, load, load_images, load_labels,
    own_labels, shared,
};
use image::{GrayImage, Luma, Rgb, RgbImage};
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder can be made");
    std::fs::write(&path, bytes).expect("the file can be written");
    path
}

fn save_rgb(folder: &TempDir, name: &str, image: &RgbImage) -> PathBuf {
    let path = write(folder, name, &[]);
    image.save(&path).expect("written");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Record `number`: label `number` mod 10, pixel p of colour c has the value number + 3p + 50c.
fn record(number: usize) -> Vec<u8> {
    let pixels = (0..3 * 1024).map(|i| (number + 3 * (i % 1024) + 50 * (i / 1024)) as u8);
    std::iter::once((number % 10) as u8).chain(pixels).collect()
}

fn records(count: usize) -> Vec<u8> {
    (0..count).flat_map(record).collect()
}

fn raw() -> Preprocess {
    Preprocess { scale: 1.0, ..Preprocess::default() }
}

fn with(path: &Path, pixels: Pixels) -> Result<Items, DataError> {
    load_images(path, &raw(), &pixels, Choice::All)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, DataError>, parts: &[&str]) {
    let text = result.expect_err("this must be refused").to_string();
    for part in parts {
        assert!(text.contains(part), "\"{text}\" does not say \"{part}\"");
    }
    assert!(text.contains(';'), "\"{text}\" does not say what to do");
}

#[test]
fn cifar_records_become_planes_and_labels() {
    let folder = folder();
    let path = write(&folder, "batch.bin", &records(12));
    let items = load(&path, &raw(), None).expect("a right file");
    assert_eq!((items.shape.as_slice(), items.count), (&[3, 32, 32][..], 12));
    for number in 0..12 {
        let pixels: Vec<f32> = record(number)[1..].iter().map(|&byte| byte.into()).collect();
        assert_eq!(items.item(number), pixels, "record {number}");
    }
    assert_eq!(load_labels(&path, None).expect("labels"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    assert_eq!(own_labels(&path, Some(3)).expect("labels"), Some(vec![0, 1, 2]));
    let packed = write(&folder, "batch.BIN.gz", &gzip(&records(12)));
    assert_eq!(load(&packed, &raw(), None).expect("a right file"), items);
    assert_eq!(load(&packed, &raw(), Some(2)).expect("a right file").values, items.values[..2 * 3072]);
    assert_eq!(load_labels(&packed, Some(11)).expect("labels").len(), 11);
    // What follows the items that were asked for is not looked at.
    let torn = write(&folder, "torn.bin", &records(3)[..2 * 3073 + 5]);
    assert_eq!(load(&torn, &raw(), Some(2)).expect("two whole records").count, 2);
    let png = write(&folder, "image.bin", &[]);
    RgbImage::new(2, 2).save_with_format(&png, image::ImageFormat::Png).expect("written");
    assert_eq!(load(&png, &raw(), None).expect("its bytes say that it is an image").shape, [3, 2, 2]);
}

#[test]
fn cifar_files_that_lie_are_refused() {
    let folder = folder();
    let case = |name: &str, bytes: &[u8], parts: &[&str]| {
        for (name, bytes) in [(format!("{name}.bin"), bytes.to_vec()), (format!("{name}.bin.gz"), gzip(bytes))] {
            let path = write(&folder, &name, &bytes);
            refused(load(&path, &raw(), None), &[&[name.as_str()], parts].concat());
            refused(load_labels(&path, None), &[&[name.as_str()], parts].concat());
        }
    };
    case("truncated", &records(3)[..3 * 3073 - 1], &["record 2 has 3072 bytes"]);
    case("long", &[records(2), vec![1]].concat(), &["record 2 has 1 bytes"]);
    case("empty", &[], &["record 0 has 0 bytes"]);
    case("zeros", &[0; 100], &["record 0 has 100 bytes"]);
    let mut label = records(2);
    label[3073] = 10;
    case("label", &label, &["record 1 has the label 10", "0 to 9"]);
    // CIFAR-100 has two label bytes a record.
    let hundred: Vec<u8> = (0..3).flat_map(|number| [vec![11], record(number)].concat()).collect();
    case("hundred", &hundred, &["label 11"]);
    let mut torn = gzip(&records(3));
    torn.truncate(torn.len() / 2);
    refused(load(&write(&folder, "torn.bin.gz", &torn), &raw(), None), &["torn.bin.gz", "damaged"]);
    refused(load(&folder.path().join("absent.bin"), &raw(), None), &["disk", "absent.bin"]);
    refused(load(&write(&folder, "none.bin", &records(1)), &raw(), Some(0)), &["raise the limit"]);
}

#[test]
fn order_comes_before_mean_and_std() {
    let folder = folder();
    let path = save_rgb(&folder, "a.png", &RgbImage::from_pixel(1, 2, Rgb([130, 120, 110])));
    let preprocess = Preprocess { scale: 1.0, mean: vec![104.0, 117.0, 123.0], std: vec![2.0, 1.0, 1.0] };
    let bgr = Pixels { order: Order::Bgr, ..Pixels::default() };
    let items = load_images(&path, &preprocess, &bgr, Choice::All).expect("a right file");
    assert_eq!(items.values, [3.0, 3.0, 3.0, 3.0, 7.0, 7.0]);
    let cifar = write(&folder, "a.bin", &records(1));
    let (rgb, bgr) = (with(&cifar, Pixels::default()).expect("rgb"), with(&cifar, bgr).expect("bgr"));
    assert_eq!(bgr.values[..1024], rgb.values[2048..]);
    assert_eq!(bgr.values[1024..2048], rgb.values[1024..2048]);
    assert_eq!(bgr.values[2048..], rgb.values[..1024]);
}

#[test]
fn the_preparations_of_known_models_can_be_said() {
    let folder = folder();
    let path = save_rgb(&folder, "a.png", &RgbImage::from_pixel(1, 1, Rgb([255, 0, 128])));
    let value = |scale, mean: &[f32], std: &[f32], order| {
        let preprocess = Preprocess { scale, mean: mean.to_vec(), std: std.to_vec() };
        let pixels = Pixels { order, ..Pixels::default() };
        load_images(&path, &preprocess, &pixels, Choice::All).expect("a right file").values
    };
    assert_eq!(value(1.0, &[104.0, 117.0, 123.0], &[], Order::Bgr), [24.0, -117.0, 132.0]);
    assert_eq!(value(1.0, &[127.0], &[128.0], Order::Rgb), [1.0, -127.0 / 128.0, 1.0 / 128.0]);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let expected = [(1.0 - mean[0]) / std[0], (0.0 - mean[1]) / std[1], (128.0 / 255.0 - mean[2]) / std[2]];
    assert_eq!(value(255.0, &mean, &std, Order::Rgb), expected);
    assert_eq!(value(1.0, &[], &[], Order::Rgb), [255.0, 0.0, 128.0]);
}

#[test]
fn images_are_resized_by_the_shorter_side_and_cropped_in_the_middle() {
    let folder = folder();
    // Column x has the red x, row y the green y.
    let image = RgbImage::from_fn(9, 5, |x, y| Rgb([x as u8, y as u8, 77]));
    let path = save_rgb(&folder, "a.png", &image);
    let crop = |height, width| Pixels { crop: Some([height, width]), ..Pixels::default() };
    let items = with(&path, crop(1, 3)).expect("a crop");
    assert_eq!(
        (items.shape.as_slice(), items.values.as_slice()),
        (&[3, 1, 3][..], &[3.0, 4.0, 5.0, 2.0, 2.0, 2.0, 77.0, 77.0, 77.0][..])
    );
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
        let resized =
            |shorter| with(&path, Pixels { resize: Some(shorter), filter, ..Pixels::default() }).expect("sized");
        assert_eq!(resized(10).shape, [3, 10, 18], "{filter:?}");
        assert_eq!(resized(2).shape, [3, 2, 3], "{filter:?}: the longer side is rounded down");
        assert_eq!(
            resized(5).values,
            with(&path, Pixels::default()).expect("whole").values,
            "{filter:?}: nothing to do"
        );
        assert!(resized(7).values[2 * 7 * 12..].iter().all(|&blue| blue == 77.0), "{filter:?}: a constant stays");
    }
    let both = Pixels { resize: Some(10), crop: Some([10, 10]), ..Pixels::default() };
    assert_eq!(with(&path, both).expect("both").shape, [3, 10, 10]);
    // Images of several sizes become equal ones.
    save_rgb(&folder, "b.png", &RgbImage::new(40, 20));
    refused(with(folder.path(), Pixels::default()), &["b.png", "40x20", "--resize"]);
    let items = with(folder.path(), both).expect("equal now");
    assert_eq!((items.shape.as_slice(), items.count), (&[3, 10, 10][..], 2));
    let cifar = write(&folder, "c.bin", &records(2));
    assert_eq!(with(&cifar, Pixels { resize: Some(64), ..both }).expect("CIFAR too").shape, [3, 10, 10]);
}

#[test]
fn shrinking_uses_every_pixel() {
    let folder = folder();
    let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
    let path = save_rgb(&folder, "a.png", &stripes);
    for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
        let items = with(&path, Pixels { resize: Some(8), filter, ..Pixels::default() }).expect("sized");
        let inner: Vec<f32> = items.values.chunks(8).flat_map(|row| row[2..6].to_vec()).collect();
        assert!(inner.iter().all(|value| (value - 100.0).abs() < 12.0), "{filter:?}: {inner:?}");
    }
}

#[test]
fn sizes_that_cannot_be_made_are_refused() {
    let folder = folder();
    let path = save_rgb(&folder, "a.png", &RgbImage::new(6, 4));
    let resize = |side| Pixels { resize: Some(side), ..Pixels::default() };
    refused(with(&path, resize(0)), &["operator", "0 pixels"]);
    refused(with(&path, resize(8193)), &["8193", "8192"]);
    refused(with(&path, Pixels { crop: Some([2, 0]), ..Pixels::default() }), &["0 pixels"]);
    refused(with(&path, Pixels { crop: Some([5, 5]), ..Pixels::default() }), &["a.png", "6x4", "5x5", "--resize"]);
    let line = save_rgb(&folder, "line.png", &RgbImage::new(8000, 1));
    refused(with(&line, resize(4000)), &["line.png", "would become 32000000x4000"]);
    let array = write(&folder, "array", &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9]);
    refused(with(&array, Pixels { order: Order::Bgr, ..Pixels::default() }), &["operator", "array"]);
    with(&array, Pixels::default()).expect("nothing is asked for");
}

#[test]
fn announced_sizes_take_no_memory() {
    let folder = folder();
    let mut png = Vec::new();
    let small = image::DynamicImage::ImageRgb8(RgbImage::new(2, 2));
    small.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).expect("written");
    // The header chunk: length, "IHDR", width, height, five bytes, checksum.
    png[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let checksum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    refused(load(&write(&folder, "huge.png", &png), &raw(), None), &["huge.png", "too large", "8192"]);
    let mut jpeg = Vec::new();
    small.write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).expect("written");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    refused(load(&write(&folder, "huge.jpg", &jpeg), &raw(), None), &["huge.jpg"]);
    refused(
        load(&write(&folder, "broken.jpg", &[0xff, 0xd8, 0xff, 0xe0, 1, 2, 3]), &raw(), None),
        &["broken.jpg", "damaged"],
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn grey_is_repeated_for_a_model_of_three_colours() {
    let folder = folder();
    for (name, grey) in [("a.png", 1), ("b.png", 2)] {
        GrayImage::from_pixel(2, 1, Luma([grey])).save(write(&folder, name, &[])).expect("written");
    }
    let grey = load(folder.path(), &raw(), None).expect("grey");
    assert_eq!(grey.shape, [1, 1, 2]);
    let fitted = grey.clone().fit(&[3, 1, 2]).expect("repeated");
    assert_eq!((fitted.values, fitted.count), (vec![1., 1., 1., 1., 1., 1., 2., 2., 2., 2., 2., 2.], 2));
    refused(grey.clone().fit(&[3, 2, 1]), &["[1, 1, 2]"]);
    refused(grey.fit(&[4, 1, 2]), &["[4, 1, 2]"]);
    // A colour image after grey ones: those before it are repeated, too.
    save_rgb(&folder, "c.png", &RgbImage::from_pixel(2, 1, Rgb([3, 4, 5])));
    let mixed = load(folder.path(), &raw(), None).expect("mixed");
    assert_eq!(mixed.shape, [3, 1, 2]);
    assert_eq!(mixed.item(0), [1.0; 6]);
    assert_eq!(mixed.item(1), [2.0; 6]);
    assert_eq!(mixed.item(2), [3., 3., 4., 4., 5., 5.]);
    // No more is decoded than is asked for.
    write(&folder, "d.png", b"\x89PNG broken");
    assert_eq!(load(folder.path(), &raw(), Some(3)).expect("the fourth is not read").count, 3);
    refused(load(folder.path(), &raw(), None), &["d.png"]);
}

#[test]
fn class_folders_are_labels() {
    let folder = folder();
    for name in ["bees/1.png", "ants/2.png", "ants/10.png", "wasps/deep/3.png"] {
        save_rgb(&folder, name, &RgbImage::new(1, 1));
    }
    // A class without images is counted, so that parts of a set agree.
    std::fs::create_dir(folder.path().join("beetles")).expect("a folder");
    assert_eq!(folder_labels(folder.path(), None).expect("labels"), [0, 0, 1, 3]);
    assert_eq!(folder_labels(folder.path(), Some(3)).expect("labels"), [0, 0, 1]);
    assert_eq!(own_labels(folder.path(), None).expect("no labels of its own"), None);
    let loose = save_rgb(&folder, "loose.png", &RgbImage::new(1, 1));
    refused(folder_labels(folder.path(), None), &["loose.png", "no class folder"]);
    refused(folder_labels(&loose, None), &["loose.png", "class folders"]);
}

#[test]
fn chosen_items_are_spread_over_all() {
    let folder = folder();
    let spread = |path: &Path, count| {
        let items = load_images(path, &raw(), &Pixels::default(), Choice::Spread(count)).expect("a right file");
        assert_eq!(items.values.len(), items.count * items.item_len());
        (0..items.count).map(|item| items.item(item)[0] as usize).collect::<Vec<_>>()
    };
    let cifar = write(&folder, "c.bin.gz", &gzip(&records(11)));
    // Byte 0 of item i is i, in a file of each kind.
    let idx =
        [&[0, 0, 8, 2, 0, 0, 0, 11, 0, 0, 0, 2][..], &(0..11).flat_map(|i| [i, 99]).collect::<Vec<u8>>()].concat();
    let idx = write(&folder, "i", &idx);
    let head = "{'descr': '|u1', 'fortran_order': False, 'shape': (11, 3), }";
    let npy = [b"\x93NUMPY\x01\0", &[head.len() as u8, 0][..], head.as_bytes()].concat();
    let npy = write(&folder, "n.npy", &[npy, (0..11).flat_map(|i| [i, 9, 9]).collect()].concat());
    for number in 0..11 {
        let class = if number < 6 { "ants" } else { "bees" };
        save_rgb(&folder, &format!("images/{class}/{number:02}.png"), &RgbImage::from_pixel(1, 1, Rgb([number; 3])));
    }
    for path in [&cifar, &idx, &npy, &folder.path().join("images")] {
        assert_eq!(spread(path, 1), [0], "{}", path.display());
        assert_eq!(spread(path, 4), [0, 2, 5, 8], "{}", path.display());
        assert_eq!(spread(path, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "{}", path.display());
        assert_eq!(spread(path, 11), (0..11).collect::<Vec<_>>(), "{}", path.display());
        assert_eq!(spread(path, usize::MAX), (0..11).collect::<Vec<_>>(), "{}", path.display());
    }
    let torn = write(&folder, "t.bin", &records(11)[..10 * 3073 + 5]);
    refused(load_images(&torn, &raw(), &Pixels::default(), Choice::Spread(11)), &["record 10 has 5 bytes"]);
}

#[test]
fn files_in_common_are_found() {
    let folder = folder();
    let [a, b, other] =
        [("a.bin", 2), ("b/b.bin", 2), ("c.bin", 3)].map(|(name, count)| write(&folder, name, &records(count)));
    let packed = write(&folder, "a.bin.gz", &gzip(&records(2)));
    let find = |a: &Path, choice, b: &Path| shared(a, choice, b).expect("both can be read");
    for (one, two) in [(&a, &b), (&a, &packed), (&packed, &b), (&a, &a)] {
        assert_eq!(find(one, Choice::All, two).as_ref(), Some(one));
    }
    assert_eq!(find(&a, Choice::All, &other), None);
    let image = |name: &str, grey| save_rgb(&folder, name, &RgbImage::from_pixel(2, 2, Rgb([grey; 3])));
    let public: Vec<PathBuf> = (0..4).map(|i| image(&format!("public/{i}.png"), i)).collect();
    let private: Vec<PathBuf> = (3..6).map(|i| image(&format!("private/x/{i}.png"), i)).collect();
    let [public_folder, private_folder] = ["public", "private"].map(|name| folder.path().join(name));
    assert_eq!(find(&public_folder, Choice::All, &private_folder).as_ref(), Some(&public[3]));
    assert_eq!(find(&public_folder, Choice::Spread(2), &private_folder), None, "it is not chosen");
    assert_eq!(find(&public_folder, Choice::Spread(2), &public_folder).as_ref(), Some(&public[0]));
    assert_eq!(find(&private_folder, Choice::All, &public[3]).as_ref(), Some(&private[0]));
    assert_eq!(find(&public[1], Choice::All, &private_folder), None);
    refused(shared(&a, Choice::All, &folder.path().join("absent")), &["disk", "absent"]);
}

#[test]
fn prepared_floats_are_taken_as_they_are() {
    let folder = folder();
    let npy = |kind: &str, values: &[u8]| {
        let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 3, 1, 1), }}");
        [b"\x93NUMPY\x01\0", &[head.len() as u8, 0][..], head.as_bytes(), values].concat()
    };
    let bgr = Pixels { order: Order::Bgr, crop: Some([1, 1]), ..Pixels::default() };
    let floats: Vec<u8> = [-1.5f32, 2.0, 300.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let items = with(&write(&folder, "f.npy", &npy("<f4", &floats)), bgr).expect("floats");
    assert_eq!(items.values, [-1.5, 2.0, 300.0]);
    refused(with(&write(&folder, "b.npy", &npy("|u1", &[1, 2, 3])), bgr), &["operator", "b.npy", "floats"]);
}

proptest! {
    #[test]
    fn no_bytes_of_a_cifar_file_make_a_reader_panic(
        start in proptest::collection::vec(any::<u8>(), 0..20), count in 0usize..3, cut in 0usize..3073, limit in proptest::option::of(0usize..4),
    ) {
        let folder = folder();
        let mut bytes = [start, records(count)].concat();
        bytes.truncate(bytes.len().saturating_sub(cut));
        let path = write(&folder, "a.bin", &bytes);
        if let Ok(items) = load(&path, &raw(), limit) {
            prop_assert_eq!(items.values.len(), items.count * 3072);
            prop_assert_eq!(load_labels(&path, limit).expect("labels of the same records").len(), items.count);
        }
    }

    #[test]
    fn resized_and_cropped_images_have_the_asked_size(
        width in 1u32..40, height in 1u32..40, shorter in 1u32..60, crop in (1u32..60, 1u32..60),
    ) {
        let folder = folder();
        let path = save_rgb(&folder, "a.png", &RgbImage::new(width, height));
        let pixels = Pixels { resize: Some(shorter), crop: Some([crop.0, crop.1]), ..Pixels::default() };
        let longer = width.max(height) * shorter / width.min(height);
        let (w, h) = if width < height { (shorter, longer) } else { (longer, shorter) };
        match with(&path, pixels) {
            Ok(items) => prop_assert_eq!(items.shape, vec![3, crop.0 as usize, crop.1 as usize]),
            Err(error) => prop_assert!(crop.0 > h || crop.1 > w, "{error}"),
        }
    }
}
