//! Documents whose fenced blocks are run: commands of several terminals, and files between them.

use std::ops::Range;

/// A fenced block of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is written in, such as "sh".
    pub language: String,
    /// The terminal that it is typed in.
    pub title: Option<String>,
    /// The file that it is the content of.
    pub file: Option<String>,
    /// Whether it goes on while the next ones are run.
    pub background: bool,
    /// Its lines.
    pub text: String,
}

/// The blocks of a document, in their order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let value = |key: &str| {
            let (_, rest) = info.split_once(&format!("{key}=\""))?;
            Some(rest.split_once('"')?.0.to_string())
        };
        found.push(Block {
            language: info.split_whitespace().next().unwrap_or("").to_string(),
            title: value("title"),
            file: value("file"),
            background: info.split_whitespace().any(|word| word == "background"),
            text: text.iter().map(|line| format!("{line}\n")).collect(),
        });
    }
    found
}

/// Replaces these ports of loopback, which documents name, by free ones.
pub fn move_ports(blocks: &mut [Block], ports: Range<u16>) {
    for port in ports {
        let (written, free) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", free_port()));
        blocks.iter_mut().for_each(|block| block.text = block.text.replace(&written, &free));
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_they_stand() {
        let text =
            "a\n```sh title=\"terminal 1\" background\nx y\n```\n```toml file=\"p0/serve.toml\"\na = 1\nb = 2\n```\n";
        let [first, second] = &blocks(text)[..] else { panic!("two blocks") };
        assert_eq!(
            (first.title.as_deref(), first.background, first.text.as_str()),
            (Some("terminal 1"), true, "x y\n")
        );
        assert_eq!((second.file.as_deref(), second.text.as_str()), (Some("p0/serve.toml"), "a = 1\nb = 2\n"));
    }

    #[test]
    fn a_port_is_moved_wherever_it_stands() {
        let mut found =
            blocks("```sh\nlisten 127.0.0.1:7100\n```\n```sh\nconnect 127.0.0.1:7100, 127.0.0.1:7101\n```\n");
        move_ports(&mut found, 7100..7101);
        let port = found[0].text.trim().rsplit_once(':').expect("a port").1.to_string();
        assert_ne!(port, "7100");
        assert_eq!(found[1].text, format!("connect 127.0.0.1:{port}, 127.0.0.1:7101\n"));
    }
}
