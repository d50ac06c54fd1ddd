package collector

import (
	"slices"
	"testing"

	wit "gauged/bindings/collector"
)

func TestSettingsHaveDefaults(t *testing.T) {
	if settings, wrong := readSettings("{}"); settings.File != "/proc/stat" || wrong != nil {
		t.Errorf("got %v and %v", settings, wrong)
	}
	if settings, wrong := readSettings(`{"file": "/srv/stat"}`); settings.File != "/srv/stat" || wrong != nil {
		t.Errorf("got %v and %v", settings, wrong)
	}
}

func TestEachWrongKeyIsRejected(t *testing.T) {
	unknown := "unknown key; remove it, or use one of file"
	for config, want := range map[string][]wit.Invalid{
		`{"path": 1, "file": ""}`: {{Key: "file", Message: "write a path"}, {Key: "path", Message: unknown}},
		`{"file": 5}`:             {{Key: "file", Message: "write a path"}},
		`{"a": {}, "b": []}`:      {{Key: "a", Message: unknown}, {Key: "b", Message: unknown}},
	} {
		if _, wrong := readSettings(config); !slices.Equal(wrong, want) {
			t.Errorf("%s: got %v", config, wrong)
		}
	}
	if _, wrong := readSettings("[]"); len(wrong) != 1 || wrong[0].Key != "" {
		t.Errorf("got %v", wrong)
	}
}
