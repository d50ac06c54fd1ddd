package collector

import (
	"encoding/json"
	"maps"
	"slices"

	wit "gauged/bindings/collector"
)

const defaultFile = "/proc/stat"

// Settings are `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`, which the agent gives to the plugin as JSON.
type Settings struct {
	// File is the path of the file to read.
	File string
}

// readSettings returns the settings, or all wrong keys with their remedies.
func readSettings(config string) (Settings, []wit.Invalid) {
	settings := Settings{File: defaultFile}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(config), &values); err != nil {
		return settings, []wit.Invalid{{Message: "write a JSON object: " + err.Error()}}
	}
	var wrong []wit.Invalid
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != "file" {
			wrong = append(wrong, wit.Invalid{Key: key, Message: "unknown key; remove it, or use one of file"})
		} else if json.Unmarshal(values[key], &settings.File) != nil || settings.File == "" {
			wrong = append(wrong, wit.Invalid{Key: key, Message: "write a path"})
		}
	}
	return settings, wrong
}
