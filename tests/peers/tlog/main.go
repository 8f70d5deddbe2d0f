// Reads an audit log with the libraries of Go's checksum database, which share nothing with Modelward: note opens the
// checkpoints, tlog checks every hash and record against the tree, and proofs that Modelward made.
//
// verify FOLDER VKEY < {"cosigner": VKEY, "inclusion": [...], "consistency": [...]}
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type asked struct {
	Cosigner  string
	Inclusion []struct {
		Index  int64
		Record []byte
		Proof  []tlog.Hash
	}
	Consistency []struct {
		Note  string // of the earlier checkpoint
		Proof []tlog.Hash
	}
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder, vkey string) error {
	var asked asked
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	verifiers, err := known(vkey, asked.Cosigner)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(data, verifiers)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles(folder))
	if err := records(folder, tree, hashes); err != nil {
		return err
	}
	for _, each := range asked.Inclusion {
		if err := tlog.CheckRecord(each.Proof, tree.N, tree.Hash, each.Index, tlog.RecordHash(each.Record)); err != nil {
			return fmt.Errorf("inclusion of %d: %w", each.Index, err)
		}
	}
	for _, each := range asked.Consistency {
		before, err := open([]byte(each.Note), verifiers)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(each.Proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return fmt.Errorf("consistency with %d: %w", before.N, err)
		}
	}
	fmt.Println(tree.N)
	return nil
}

func known(vkey, cosigner string) (note.Verifiers, error) {
	own, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	all := []note.Verifier{own}
	if cosigner != "" {
		other, err := newCosigner(cosigner)
		if err != nil {
			return nil, err
		}
		all = append(all, other)
	}
	return note.VerifierList(all...), nil
}

// open wants every signature that it knows the key of to be there.
func open(data []byte, verifiers note.Verifiers) (tlog.Tree, error) {
	opened, err := note.Open(data, verifiers)
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != opened.Sigs[0].Name {
		return tlog.Tree{}, errors.New("the checkpoint is of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tiles of C2SP are those of the checksum database, but for the height in their paths.
type tiles string

func (folder tiles) Height() int { return height }

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(folder), name))
		if err != nil {
			return nil, err
		}
		found[i] = data
	}
	return found, nil
}

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// records computes the tree again from the records alone, and compares the hashes of the tiles with theirs.
func records(folder string, tree tlog.Tree, hashes tlog.HashReader) error {
	const full = 1 << height
	var stored []tlog.Hash
	own := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for first := int64(0); first < tree.N; first += full {
		width := min(full, int(tree.N-first))
		tile := tlog.Tile{H: height, L: -1, N: first / full, W: width}
		name := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		indexes := make([]int64, width)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		tiled, err := hashes.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i := range indexes {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("%s is cut off", name)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			more, err := tlog.StoredHashes(first+int64(i), bundle[2:end], own)
			if err != nil {
				return err
			}
			if tiled[i] != more[0] {
				return fmt.Errorf("record %d was changed", first+int64(i))
			}
			stored = append(stored, more...)
			bundle = bundle[end:]
		}
		if len(bundle) > 0 {
			return fmt.Errorf("%s holds more", name)
		}
	}
	root, err := tlog.TreeHash(tree.N, own)
	if err == nil && root != tree.Hash {
		err = errors.New("the records have another root")
	}
	return err
}

// cosigner verifies cosignature/v1, which the note package leaves to its users.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed key")
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("this is no key of a cosigner")
	}
	return cosigner{parts[0], uint32(hash), key[1:]}, nil
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", at)), msg...)
	return at > 0 && ed25519.Verify(c.key, signed, sig[8:])
}
