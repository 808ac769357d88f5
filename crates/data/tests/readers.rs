//! Every format read, and every way in which a file or a request can be wrong, refused by name.

use std::io::Write;
use std::path::{Path, PathBuf};

use ariann_data::{DataError, Items, Preprocess, bundled, check_range, load, load_labels};
use image::{GrayImage, Luma, LumaA, Rgb, RgbImage, RgbaImage};
use proptest::prelude::*;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder can be made"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder can be made");
        std::fs::write(&path, bytes).expect("the file can be written");
        path
    }
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(elements);
    bytes
}

fn npy(descr: &str, fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    text.push_str(&" ".repeat(63 - (10 + text.len()) % 64));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(elements);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn plain(path: &Path) -> Result<Items, DataError> {
    load(path, &Preprocess { scale: 1.0, ..Preprocess::default() }, None)
}

/// The refusal names the file or request and contains every one of `parts`.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, DataError>, parts: &[&str]) {
    let text = result.expect_err("this must be refused").to_string();
    for part in parts {
        assert!(text.contains(part), "\"{text}\" does not say \"{part}\"");
    }
    assert!(text.contains(';'), "\"{text}\" does not say what to do");
}

#[test]
fn idx_plain_and_gzipped_are_the_same() {
    let folder = Folder::new();
    let bytes = idx(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255]);
    let read = plain(&folder.write("a", &bytes)).expect("a right file");
    assert_eq!((read.shape.as_slice(), read.count), (&[2, 3][..], 2));
    assert_eq!(read.item(1), [250.0, 251.0, 252.0, 253.0, 254.0, 255.0]);
    assert_eq!(plain(&folder.write("a.gz", &gzip(&bytes))).expect("a right file"), read);
    let one = load(&folder.path().join("a.gz"), &Preprocess::default(), Some(1)).expect("a right file");
    assert_eq!((one.count, one.values.len()), (1, 6));
    assert_eq!(one.values[5], 5.0 / 255.0);
}

#[test]
fn idx_that_lies_is_refused() {
    let folder = Folder::new();
    let case = |name: &str, bytes: &[u8], parts: &[&str]| {
        refused(plain(&folder.write(name, bytes)), &[&[name], parts].concat());
        refused(plain(&folder.write(&format!("{name}.gz"), &gzip(bytes))), &[name]);
    };
    case("short", &idx(&[2, 2, 2], &[0; 7]), &["declares 8 bytes", "holds"]);
    case("long", &idx(&[2, 2, 2], &[0; 9]), &["declares 8 bytes", "more"]);
    case("header-only", &[0, 0, 8, 3, 0, 0], &["12"]);
    case("huge", &idx(&[u32::MAX, 60_000, 60_000], &[0; 9]), &["declares"]);
    case("overflowing", &idx(&[u32::MAX, u32::MAX, u32::MAX, u32::MAX], &[0; 9]), &["overflow"]);
    case("of-shorts", &[0, 0, 0x0b, 1, 0, 0, 0, 1, 0, 0], &["0x0b", "unsigned bytes"]);
    case("without-axes", &[0, 0, 8, 0], &["0 axes"]);
    case("empty", &idx(&[0, 28, 28], &[]), &["no items"]);
    let mut torn = gzip(&idx(&[2, 2, 2], &[7; 8]));
    torn.truncate(torn.len() - 9);
    refused(plain(&folder.write("torn.gz", &torn)), &["torn.gz"]);
    // A file of a few bytes that announces more than deflate can make of it is refused before it is unpacked.
    let bomb = gzip(&idx(&[1000, 1000, 1000], &[]));
    refused(plain(&folder.write("bomb.gz", &bomb)), &["declares 1000000000 bytes"]);
}

#[test]
fn npy_floats_are_taken_as_they_are_and_bytes_are_preprocessed() {
    let folder = Folder::new();
    let floats: Vec<u8> = [0.5f32, -1.0, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let read = load(&folder.write("f4.npy", &npy("<f4", false, "(2, 2)", &floats)), &Preprocess::default(), None);
    assert_eq!(read.expect("a right file"), Items { shape: vec![2], values: vec![0.5, -1.0, 2.0, 3.0], count: 2 });
    let doubles: Vec<u8> = [0.5f64, -1.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let read = plain(&folder.write("f8.npy", &npy(">f8", false, "(2, 1)", &doubles))).expect("a right file");
    assert_eq!(read.values, [0.5, -1.0]);
    let path = folder.write("u1.npy", &npy("|u1", false, "(1, 1, 1, 2)", &[51, 255]));
    let read = load(&path, &Preprocess::default(), None).expect("a right file");
    assert_eq!((read.shape, read.values), (vec![1, 1, 2], vec![0.2, 1.0]));
}

#[test]
fn npy_that_lies_is_refused() {
    let folder = Folder::new();
    let case = |name: &str, bytes: &[u8], parts: &[&str]| {
        refused(plain(&folder.write(name, bytes)), &[&[name], parts].concat());
    };
    case("short.npy", &npy("<f4", false, "(2, 2)", &[0; 15]), &["declares 16 bytes"]);
    case("long.npy", &npy("<f4", false, "(2, 2)", &[0; 17]), &["more"]);
    case("overflow.npy", &npy("<f4", false, "(4294967295, 4294967295, 4294967295)", &[0; 4]), &["overflows"]);
    case("huge.npy", &npy("<f4", false, "(1000000, 1000000)", &[0; 4]), &["declares"]);
    case("columns.npy", &npy("<f4", true, "(2, 2)", &[0; 16]), &["column-major", "ascontiguousarray"]);
    case("halves.npy", &npy("<f2", false, "(2, 2)", &[0; 8]), &["f2"]);
    case("objects.npy", &npy("|O", false, "(2, 2)", &[0; 8]), &["not understood"]);
    case("scalar.npy", &npy("<f4", false, "()", &[0; 4]), &["no items"]);
    case("nothing.npy", &npy("<f4", false, "(0, 3)", &[]), &["holds nothing"]);
    case("version.npy", b"\x93NUMPY\x09\x00\x02\x00{}", &["version"]);
    case("header.npy", b"\x93NUMPY\x01\x00\x02\x00{}", &["not understood"]);
    case("long-header.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}", &["header is too long"]);
    case("cut.npy", b"\x93NUM", &["none of"]);
}

#[test]
fn folders_are_read_in_the_order_of_whole_relative_paths() {
    let folder = Folder::new();
    for (name, grey) in [("bees/1.png", 3), ("ants/2.png", 2), ("ants/10.png", 1), ("ants-more/1.PNG", 0)] {
        let path = folder.write(name, &[]);
        GrayImage::from_pixel(3, 2, Luma([grey])).save_with_format(&path, image::ImageFormat::Png).expect("written");
    }
    folder.write("ants/notes.txt", b"not an image");
    let read = plain(folder.path()).expect("a right folder");
    assert_eq!((read.shape.as_slice(), read.count), (&[1, 2, 3][..], 4));
    let order: Vec<f32> = (0..4).map(|item| read.item(item)[0]).collect();
    assert_eq!(order, [0.0, 1.0, 2.0, 3.0], "\"ants-more/\" is before \"ants/\", as strings are compared");
    let two = load(folder.path(), &Preprocess::default(), Some(2)).expect("a right folder");
    assert_eq!(two.count, 2);
}

#[test]
fn colours_become_planes_and_grey_is_repeated_among_colours() {
    let folder = Folder::new();
    RgbImage::from_fn(2, 1, |x, _| Rgb([10 + x as u8, 20, 30])).save(folder.path().join("a.png")).expect("written");
    GrayImage::from_pixel(2, 1, Luma([7])).save(folder.path().join("b.png")).expect("written");
    let read = plain(folder.path()).expect("a right folder");
    assert_eq!(read.shape, [3, 1, 2]);
    assert_eq!(read.item(0), [10.0, 11.0, 20.0, 20.0, 30.0, 30.0]);
    assert_eq!(read.item(1), [7.0; 6]);
    let preprocess = Preprocess { scale: 1.0, mean: vec![10.0, 20.0, 29.0], std: vec![2.0, 1.0, 0.5] };
    let read = load(&folder.path().join("a.png"), &preprocess, None).expect("a right file");
    assert_eq!(read.values, [0.0, 0.5, 0.0, 0.0, 2.0, 2.0]);
    let grey = load(&folder.path().join("b.png"), &preprocess, None).expect("grey is repeated for three means");
    assert_eq!(grey.values, [-1.5, -1.5, -13.0, -13.0, -44.0, -44.0]);
}

#[test]
fn jpeg_is_read() {
    let folder = Folder::new();
    let path = folder.path().join("a.jpg");
    GrayImage::from_pixel(8, 8, Luma([200])).save(&path).expect("written");
    let read = plain(&path).expect("a right file");
    assert_eq!(read.shape, [1, 8, 8]);
    assert!(read.values.iter().all(|value| (value - 200.0).abs() <= 2.0), "{:?}", read.values);
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let at = |name: &str| folder.path().join(name);
    GrayImage::new(3, 3).save(at("a.png")).expect("written");
    GrayImage::new(3, 4).save(at("b.png")).expect("written");
    refused(plain(folder.path()), &["b.png", "3x4", "3x3", "resize"]);
    RgbaImage::new(2, 2).save(at("alpha.png")).expect("written");
    refused(plain(&at("alpha.png")), &["alpha.png", "transparent"]);
    image::GrayAlphaImage::from_pixel(2, 2, LumaA([9, 255])).save(at("opaque.png")).expect("written");
    assert_eq!(plain(&at("opaque.png")).expect("opaque alpha is no loss").values, [9.0; 4]);
    image::ImageBuffer::<Luma<u16>, _>::new(2, 2).save(at("deep.png")).expect("written");
    refused(plain(&at("deep.png")), &["deep.png", "8 bits"]);
    let whole = std::fs::read(at("a.png")).expect("it was written");
    refused(plain(&folder.write("torn.png", &whole[..whole.len() - 20])), &["torn.png", "damaged"]);
    let empty = Folder::new();
    refused(plain(empty.path()), &["no PNG or JPEG"]);
    refused(plain(&folder.path().join("absent.png")), &["disk", "absent.png"]);
    refused(plain(&folder.write("text.txt", b"hello")), &["none of IDX"]);
    refused(plain(&folder.write("nothing", b"")), &["none of IDX"]);
}

#[test]
fn preprocessing_that_cannot_be_done_is_refused() {
    let folder = Folder::new();
    let path = folder.write("a", &idx(&[1, 2, 2], &[0; 4]));
    let with = |scale: f32, mean: &[f32], std: &[f32]| {
        load(&path, &Preprocess { scale, mean: mean.to_vec(), std: std.to_vec() }, None)
    };
    refused(with(0.0, &[], &[]), &["operator", "scale is 0"]);
    refused(with(f32::NAN, &[], &[]), &["scale is NaN"]);
    refused(with(1.0, &[f32::INFINITY], &[]), &["mean holds inf"]);
    refused(with(1.0, &[], &[0.0]), &["std holds 0"]);
    refused(with(1.0, &[1.0, 2.0, 3.0], &[]), &["mean has 3 values", "1 channels"]);
    let range = Preprocess { scale: 255.0, mean: vec![0.5], std: vec![-0.5] }.range();
    assert_eq!(range, [(-1.0, 1.0)]);
}

#[test]
fn shapes_adapt_where_nothing_is_lost() {
    let items = Items { shape: vec![28, 28], values: vec![0.0; 1568], count: 2 };
    assert_eq!(items.clone().fit(&[1, 28, 28]).expect("a channel axis comes").shape, [1, 28, 28]);
    assert_eq!(items.clone().fit(&[784]).expect("a row of features").shape, [784]);
    let channelled = Items { shape: vec![1, 28, 28], ..items.clone() };
    assert_eq!(channelled.fit(&[28, 28]).expect("a channel axis goes").shape, [28, 28]);
    for wrong in [&[1, 32, 32][..], &[3, 28, 28], &[28, 1, 28], &[783], &[28, 28, 1]] {
        refused(items.clone().fit(wrong), &["[28, 28]", &format!("{wrong:?}")]);
    }
}

#[test]
fn values_outside_the_declared_range_are_named() {
    let items = Items { shape: vec![2], values: vec![0.0, 1.0, 0.5, 1.25], count: 2 };
    check_range(&items, 0.0, 1.25).expect("the ends belong to the range");
    refused(check_range(&items, 0.0, 1.0), &["item 1", "position 1", "1.25", "[0, 1]"]);
    let items = Items { shape: vec![2], values: vec![0.0, f32::NAN], count: 1 };
    refused(check_range(&items, f32::MIN, f32::MAX), &["item 0", "NaN", "position 1"]);
}

#[test]
fn labels_are_read_from_three_formats() {
    let folder = Folder::new();
    let labels = |name: &str, bytes: &[u8]| load_labels(&folder.write(name, bytes), None);
    assert_eq!(labels("a.gz", &gzip(&idx(&[3], &[1, 0, 9]))).expect("idx"), [1, 0, 9]);
    let longs: Vec<u8> = [7i64, 300].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(labels("a.npy", &npy("<i8", false, "(2,)", &longs)).expect("npy"), [7, 300]);
    assert_eq!(labels("a.txt", b"3\n\n 1 \n2").expect("text"), [3, 1, 2]);
    assert_eq!(load_labels(&folder.path().join("a.txt"), Some(2)).expect("text"), [3, 1]);
    refused(labels("images", &idx(&[1, 2, 2], &[0; 4])), &["images", "file of labels"]);
    refused(labels("negative.txt", b"1\n-2"), &["label 1 is -2", "from 0"]);
    refused(labels("words.txt", b"1\ncat"), &["line 2", "cat"]);
    refused(labels("empty.txt", b"\n"), &["no labels"]);
    refused(labels("binary", &[0xff, 0xfe, 0x00]), &["none of"]);
    refused(labels("rows.npy", &npy("<i8", false, "(1, 2)", &longs)), &["one axis"]);
    refused(labels("floats.npy", &npy("<f4", false, "(4,)", &longs)), &["integers"]);
    refused(labels("image.png", b"\x89PNG"), &["is an image"]);
}

#[test]
fn bundled_files_hold_what_they_say() {
    let folder = Folder::new();
    for (images, labels, each) in
        [(bundled::train_images(), bundled::train_labels(), 200), (bundled::test_images(), bundled::test_labels(), 50)]
    {
        let items = load(&folder.write(images.name, images.bytes), &Preprocess::default(), None).expect("images");
        let labels = load_labels(&folder.write(labels.name, labels.bytes), None).expect("labels");
        assert_eq!((items.shape.as_slice(), items.count, labels.len()), (&[28, 28][..], 10 * each, 10 * each));
        for class in 0..bundled::CLASSES.len() {
            assert_eq!(labels.iter().filter(|&&label| label == class).count(), each, "class {class}");
        }
        check_range(&items, 0.0, 1.0).expect("pixels over 255");
    }
    let names: Vec<_> = bundled::files().iter().map(|file| file.name).collect();
    assert!(names.contains(&"fashion-cnn.onnx") && names.contains(&"LICENSE-fashion-mnist"), "{names:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(start in 0usize..5, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let starts: [&[u8]; 5] = [&[0, 0, 8, 2], b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'shape': (", b"\x89PNG\r\n\x1a\n", &[0xff, 0xd8, 0xff], &[0x1f, 0x8b, 8]];
        let folder = Folder::new();
        let path = folder.write("a", &[starts[start], &rest].concat());
        let _ = plain(&path);
        let _ = load_labels(&path, None);
    }

    #[test]
    fn one_changed_byte_of_an_idx_header_gives_an_error_or_whole_items(place in 0usize..16, byte in any::<u8>()) {
        let folder = Folder::new();
        let mut bytes = idx(&[2, 2, 3], &[9; 12]);
        bytes[place] = byte;
        if let Ok(items) = plain(&folder.write("a", &bytes)) {
            prop_assert_eq!(items.values.len(), items.count * items.item_len());
        }
    }
}
