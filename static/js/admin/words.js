// The administrators' words: a catalogue of their own, which the chat page does not load.

import { words } from "../i18n.js";
import en from "../words/admin_en.js";
import ko from "../words/admin_ko.js";

words.learn({ en, ko });
