//! Finds the cluster of a line by its number of words and then by the words themselves, from the first on.
//!
//! A word with a digit is taken for one that varies. A node has few children: what finds no room goes the way of what varies. Among the
//! clusters at the end of the way the most similar counts, if it is similar enough.

use std::collections::{BTreeMap, HashMap};

use crate::patterns::cluster::Cluster;
use crate::patterns::tokens::Tokens;

pub(super) const MAX_CLUSTERS: usize = 300;
pub(super) const MAX_NODES: usize = 40_000;
/// Words that lead to a cluster.
const DEPTH: usize = 28;
const MAX_CHILDREN: usize = 15;
/// The least similarity of a line to its cluster.
const SIMILARITY: f64 = 0.3;

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, usize>,
    /// For words that vary.
    other: Option<usize>,
    clusters: Vec<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    roots: BTreeMap<usize, usize>,
    nodes: Vec<Node>,
    /// With the node that each is found at.
    clusters: Vec<(usize, Cluster)>,
    lines: u64,
}

impl Tree {
    /// Counts a line at a step.
    pub(super) fn add(&mut self, tokens: &Tokens<'_>, step: i64, weight: f64) {
        self.lines += 1;
        let found = self.leaf(tokens).and_then(|leaf| self.most_similar(leaf, tokens));
        let Some(index) = found.or_else(|| self.insert(tokens)) else { return };
        let cluster = &mut self.clusters[index].1;
        cluster.last_met = self.lines;
        cluster.add(tokens, step, weight);
    }

    pub(super) fn into_clusters(self) -> impl Iterator<Item = Cluster> {
        self.clusters.into_iter().map(|(_, cluster)| cluster)
    }

    #[cfg(test)]
    pub(super) fn clusters(&self) -> usize {
        self.clusters.len()
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn leaf(&self, tokens: &Tokens<'_>) -> Option<usize> {
        let mut node = *self.roots.get(&tokens.len())?;
        for word in tokens.words().iter().take(DEPTH) {
            let current = &self.nodes[node];
            node = current.children.get(*word).copied().or(current.other)?;
        }
        Some(node)
    }

    fn most_similar(&self, leaf: usize, tokens: &Tokens<'_>) -> Option<usize> {
        let mut best: Option<(f64, usize, usize)> = None;
        for &index in &self.nodes[leaf].clusters {
            let Some((similarity, placeholders)) = self.clusters[index].1.similarity(tokens) else { continue };
            if best.is_none_or(|(known, fewer, _)| (similarity, placeholders) > (known, fewer)) {
                best = Some((similarity, placeholders, index));
            }
        }
        best.filter(|(similarity, ..)| *similarity >= SIMILARITY).map(|(.., index)| index)
    }

    /// A new cluster for a line; `None` where there is no room for the way to it.
    fn insert(&mut self, tokens: &Tokens<'_>) -> Option<usize> {
        if self.nodes.len() + tokens.len() + 1 > MAX_NODES {
            return None;
        }
        let root = self.roots.get(&tokens.len()).copied().unwrap_or_else(|| {
            let root = self.new_node();
            self.roots.insert(tokens.len(), root);
            root
        });
        let leaf = tokens.words().iter().take(DEPTH).fold(root, |node, word| self.child(node, word));
        let index = if self.clusters.len() < MAX_CLUSTERS {
            self.clusters.push((leaf, Cluster::new(tokens)));
            self.clusters.len() - 1
        } else {
            let index = self.longest_unmet();
            let before = self.clusters[index].0;
            self.nodes[before].clusters.retain(|cluster| *cluster != index);
            self.clusters[index] = (leaf, Cluster::new(tokens));
            index
        };
        self.nodes[leaf].clusters.push(index);
        Some(index)
    }

    fn longest_unmet(&self) -> usize {
        let oldest = self.clusters.iter().enumerate().min_by_key(|(_, (_, cluster))| cluster.last_met);
        oldest.map(|(index, _)| index).expect("a full tree has clusters")
    }

    /// The child of a node for a word, made if there is none and room for one.
    fn child(&mut self, node: usize, word: &str) -> usize {
        if let Some(child) = self.nodes[node].children.get(word) {
            return *child;
        }
        let varies = word.bytes().any(|byte| byte.is_ascii_digit());
        if varies || self.nodes[node].children.len() >= MAX_CHILDREN {
            if let Some(other) = self.nodes[node].other {
                return other;
            }
            let other = self.new_node();
            self.nodes[node].other = Some(other);
            return other;
        }
        let child = self.new_node();
        self.nodes[node].children.insert(word.into(), child);
        child
    }

    fn new_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }
}
